"""A process that makes and judges inputs: a number a line on stdin, two lines back.

    python -m conformance.fuzz.worker --seed S --top FOLDER --inputs FOLDER --replies FD

The first line says what was made, so that it is known if the process dies of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

from conformance.fuzz import checkpoints, files, flags, models, specs
from conformance.fuzz.case import Case, Inputs, Maker, command
from conformance.fuzz.inputs import inputs_in
from conformance.fuzz.judge import Ended, judged

# The makers by kind, and how many of a hundred inputs each has
MAKERS: dict[str, tuple[Maker, int]] = {
    "flags": (flags.make, 44),
    "specs": (specs.make, 24),
    "files": (files.make, 12),
    "models": (models.make, 10),
    "checkpoints": (checkpoints.make, 10),
}
Reply = dict[str, object]
MEMORY = 8 << 30  # bytes; an input that asks for more is a finding, not our end
CLEARED = 100  # inputs between two sweeps of the cache


def chance_of(seed: int, number: int) -> Random:
    """What decides everything about the input of that number."""
    return Random(f"{seed}-{number}")


def kind_of(chance: Random) -> str:
    (kind,) = chance.choices([*MAKERS], [share for _, share in MAKERS.values()])
    return kind


def answers(number: int, seed: int, top: Path, inputs: Inputs) -> Iterator[Reply]:
    """What was made, then how it was met."""
    chance, folder = chance_of(seed, number), top / f"input-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    kind = kind_of(chance)
    case = MAKERS[kind][0](chance, folder, inputs)
    yield {"kind": kind, "told": case.told, "arguments": case.arguments}
    ended = judged(case, folder, inputs)
    shutil.rmtree(folder)
    yield {"status": ended.status, "said": ended.said, "problems": ended.problems}


def warm_up(top: Path, inputs: Inputs) -> None:
    """A sound run, which loads all libraries and opens what stays open."""
    folder = top / "warm-up"
    folder.mkdir(exist_ok=True)
    actions = {"do_train": True, "do_eval": True, "predict_with_generate": True}
    workers = {"preprocessing_num_workers": 2}  # starts Python's resource tracker
    case = Case("a sound run", command(**inputs.flags() | actions | workers))
    ended: Ended = judged(case, folder, inputs)
    if ended.status != 0:
        raise SystemExit(f"a sound run ends with {ended.status}: {ended.said}")
    shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--top", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--replies", type=int, required=True)
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")  # numpy's, of numbers that overflow
    inputs = inputs_in(asked.inputs)
    warm_up(asked.top, inputs)
    with open(asked.replies, "w", encoding="utf-8") as out:
        for count, line in enumerate(sys.stdin):
            for reply in answers(int(line), asked.seed, asked.top, inputs):
                out.write(json.dumps(reply) + "\n")
                out.flush()
            if count % CLEARED == 0:
                clear_cache()
    return 0


def clear_cache() -> None:
    """Rows that the datasets library keeps."""
    shutil.rmtree(os.environ["HF_DATASETS_CACHE"], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
