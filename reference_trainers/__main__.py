"""Runs or lists trainers.

python -m reference_trainers list [--json]
python -m reference_trainers --trainer NAME [spec.yaml | spec.json] [--flag value ...]
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from reference_trainers.errors import InputError
from reference_trainers.registry import find_trainer, listed


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == ["list"]:
        list_trainers(as_json="--json" in arguments[1:])
        return
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        print("The flags: python -m reference_trainers --trainer NAME -h")
        return
    name, rest = _trainer_name(arguments)
    try:
        if name is None:
            raise InputError("--trainer: say which one; `list` shows them.")
        trainer = find_trainer(name)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    from reference_trainers.cli import main as run_main  # here: `list` needs no library

    run_main(trainer, rest)


def _trainer_name(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of --trainer, and the other arguments."""
    name, rest = None, []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--trainer":
            name = next(waiting, None)
        elif argument.startswith("--trainer="):
            name = argument.partition("=")[2]
        else:
            rest.append(argument)
    return name, rest


def list_trainers(as_json: bool) -> None:
    """Each trainer, its versions, and whether it can run here."""
    if as_json:
        print(json.dumps([asdict(trainer) for trainer in listed()]))
        return
    for trainer in listed():
        versions = ", ".join(f"{n} {v}" for n, v in trainer.versions.items())
        state = "runs here" if trainer.runs_here else f"cannot run: {trainer.reason}"
        print(f"{trainer.name:12} {state}  ({versions or 'no versions'})")


if __name__ == "__main__":
    main()
