"""Lives of runs in plain numpy: started, killed and started again, in milliseconds."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from os import getpid  # the real one, whatever a test makes of os.getpid
from pathlib import Path
from typing import Any

from fixtures.models import tiny_t5
from fixtures.numpy_backend import TRAINER
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers import InputError, RunReport, TrainingSpec

STANDARD: dict[str, Any] = {
    "do_train": True,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "learning_rate": 1e-2,
    "max_source_length": 16,
    "max_target_length": 8,
    "max_steps": 4,
    "save_steps": 2,
    "logging_steps": 3,
    "max_eval_samples": 6,
    "max_predict_samples": 6,
    "predict_with_generate": True,
    "report_to": "none",
}
FIRST_IS_BEST: dict[str, Any] = {
    "max_steps": 6,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
    "load_best_model_at_end": True,
    "greater_is_better": True,  # so that the first evaluation is the best
}
# Operations on files, as sys.addaudithook names them, that change something
CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")


@dataclass(frozen=True)
class Inputs:
    """The model and the rows that every run reads."""

    model: Path
    rows: Path


def build_inputs(top: Path) -> Inputs:
    shape: dict[str, Any] = {
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 8,
        "num_layers": 1,
        "num_heads": 2,
    }
    return Inputs(
        model=tiny_t5(top / "model", vocab_size=300, num_decoder_layers=1, **shape),
        rows=write_jsonl(top / "rows.jsonl", ragged_rows(10, seed=3)),
    )


class Life:
    """One output folder, and the runs that go through it."""

    def __init__(self, inputs: Inputs, folder: Path):
        self.inputs = inputs
        self.folder = folder

    def spec(self, **flags: Any) -> TrainingSpec:
        rows = str(self.inputs.rows)
        given = STANDARD | {
            "model_name_or_path": str(self.inputs.model),
            "train_file": rows,
            "validation_file": rows,
            "test_file": rows,
            "output_dir": str(self.folder),
        }
        if flags.get("save_strategy", "steps") != "steps":
            del given["save_steps"]
        return TrainingSpec(**given | flags)

    def run(self, **flags: Any) -> RunReport:
        """The standard run with these flags."""
        return TRAINER.run(self.spec(**flags))

    def killed(self, when: str, **flags: Any) -> None:
        """The same, which dies as by SIGKILL when it first opens a file named `when`,
        or makes a folder of that name."""

        def watch(event: str, path: str) -> None:
            name = Path(path).name
            if name == when or name.startswith((f".{when}.", f".{when}-")):
                dies()

        status = in_child(lambda: self.run(**flags), watch)
        assert status == -signal.SIGKILL, f"{when} was never touched: {status}"

    def report(self) -> RunReport:
        return RunReport.read(self.folder)

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


TIMES = re.compile(
    rb'("seconds"|"compiled"|"resumed_at"|[a-z_]*_runtime"?|[a-z_]*_per_second"?)'
    rb"(:| [|]) [^,|\n]*"
)
NAME = re.compile(rb"(?m)^- name: \S+$")  # of the folder, in the card's model index
MEMORY = re.compile(rb'"peak_memory_bytes": \{[^}]*\}')


def untimed(folder: Path) -> dict[str, bytes]:
    """The files of an output folder, but for what an interruption may change.

    Without manifests, which hold digests of files with times.
    """
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.suffix in (".json", ".md"):
            content = NAME.sub(b"", MEMORY.sub(b"", TIMES.sub(b"", content)))
        if path.name != "manifest.json":
            name = path.relative_to(folder).as_posix()
            found[name] = content.replace(os.fsencode(folder), b"OUTPUT")
    return found


def in_child(act: Callable[[], object], watch: Callable[[str, str], object]) -> int:
    """Forks; the child acts, and shows `watch` each change of a file: event, path.

    The child's exit status, negative where a signal ended it.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.addaudithook(partial(_changes, watch))
            act()
            status = 0
        except InputError as error:
            print(error, file=sys.stderr)
            status = 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def dies() -> None:
    """As by SIGKILL: nothing is put in order."""
    os.kill(getpid(), signal.SIGKILL)


def _changes(
    watch: Callable[[str, str], object], event: str, arguments: tuple[Any, ...]
) -> None:
    if event not in CHANGES or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path, *rest = arguments
    if event == "open":
        mode, flags = rest
        writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if not ({*"wax+"} & {*mode} if mode else flags & writes):
            return  # opened for reading
    name, folder = os.fsdecode(path), rest[-1]
    if (
        event in ("os.remove", "os.rmdir") and folder != -1
    ):  # relative to an open folder
        name = f"{os.readlink(f'/proc/self/fd/{folder}')}/{name}"
    watch(event, name)
