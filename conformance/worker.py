"""The process of a profile: its settings are made first, then trainers run in it.

    python -m conformance.worker --profile NAME [--die-at N] -- ARGUMENTS ...

is `python -m reference_trainers ARGUMENTS ...` on that profile. With `--die-at`,
SIGKILL ends it just before the Nth call that makes, flushes or renames a file once
training has begun writing: no handler runs and nothing is cleaned up, as when the power
goes.

With `--told FOLDER` it is one of several such processes: see `told`.

    python -m conformance.worker --profile NAME --replies DESCRIPTOR

takes requests from stdin, a JSON object a line, and answers each with one.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conformance.profiles import PROFILES
from reference_trainers import (
    InputError,
    TrainingSpec,
    TrainingStopped,
    find_trainer,
    world_of,
)

OPERATIONS = ("fsync", "rename", "replace", "mkdir")


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", required=True, choices=sorted(PROFILES))
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--replies", type=int)
    parser.add_argument("--told", type=Path)
    parser.add_argument("arguments", nargs="*")
    asked = parser.parse_args(given)
    for step in PROFILES[asked.profile].prepare:
        step()
    if asked.replies is not None:
        serve(asked.replies)
        return 0
    if asked.die_at:
        die_at(asked.die_at)
    if asked.told is not None:
        return told(asked.told, asked.arguments)
    return run_command(asked.arguments)


def told(folder: Path, arguments: Sequence[str]) -> int:
    """The same for one of several processes, whose launcher has a say of its own.

    What they say goes into `said`, and how the first of them ends into `status`.
    """
    with open(folder / "said", "a", encoding="utf-8") as said:
        os.dup2(said.fileno(), 2)
    status = run_command(arguments)
    if world_of().first:
        (folder / "status").write_text(str(status))
    return status


def run_command(arguments: Sequence[str]) -> int:
    """Does in this process what `python -m reference_trainers` does; the status."""
    before = sys.argv
    sys.argv = ["reference_trainers", *arguments]
    try:
        runpy.run_module("reference_trainers", run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.argv = before
    return 0


def serve(replies: int) -> None:
    """Answers until stdin ends."""
    with open(replies, "w", encoding="utf-8") as out:
        for line in sys.stdin:
            reply = answered(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            out.write(json.dumps(reply) + "\n")
            out.flush()


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """How one request ended."""
    if "arguments" in request:
        return {"ended": "command", "status": run_command(request["arguments"])}
    try:
        trainer = find_trainer(request["trainer"])
        report = trainer.run(TrainingSpec(**request["spec"]))
        return {"ended": "well", "report": report.as_json()}
    except InputError as error:
        return {"ended": "refused", "text": str(error)}
    except TrainingStopped as stop:
        return {"ended": "stopped", "text": str(stop), "status": stop.exit_status}
    except Exception:
        return {"ended": "crash", "text": traceback.format_exc()}


def die_at(number: int) -> None:
    """From now on the process kills itself before its Nth operation on a file."""
    left = number

    def dying(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            if "checkpoint-" in repr(arguments) or operation is fsync:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **more)

        return call

    fsync = os.fsync
    for name in OPERATIONS:
        setattr(os, name, dying(getattr(os, name)))


if __name__ == "__main__":
    sys.exit(main())
