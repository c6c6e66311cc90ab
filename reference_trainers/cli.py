"""Command line, JSON file or YAML file -> TrainingSpec."""

from __future__ import annotations

import difflib
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.protocols import Trainer
from reference_trainers.report.progress import say
from reference_trainers.results import json_text
from reference_trainers.spec import GROUPS, TrainingSpec

FILE_ENDINGS = (".json", ".yaml", ".yml")


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of argparse's page of usage."""
        # "argument --max_steps/--max-steps: ..." -> "--max_steps: ..."
        sentence = re.sub(r"^argument (--\w+)[^:]*:", r"\1:", message)
        raise InputError(f"{sentence.rstrip('.')}. See -h.")


def parser(program: str | None = None) -> HfArgumentParser:
    """The parser of every trainer; `-h` lists the flags by group."""
    return _Parser(
        GROUPS,
        prog=program,
        # An abbreviation that is clear today may be ambiguous tomorrow.
        allow_abbrev=False,
        usage="%(prog)s [spec.yaml | spec.json] [--flag value ...]",
        description="Fine-tunes a sequence-to-sequence model to summarize.",
    )


def parse(arguments: Sequence[str], program: str | None = None) -> TrainingSpec:
    """Flags win over those of a spec file, which may come first.

    Raises `InputError` for an unknown flag, a wrong value or a missing file.
    """
    arguments = list(arguments)
    if arguments and arguments[0].endswith(FILE_ENDINGS):
        arguments = [*flags_of_file(Path(arguments[0])), *arguments[1:]]
    *groups, unknown = parser(program).parse_args_into_dataclasses(
        arguments, return_remaining_strings=True, look_for_args_file=False
    )
    if unknown:
        raise InputError(_unknown(unknown[0]))
    values: dict[str, Any] = {}
    for group in groups:
        values |= {field.name: getattr(group, field.name) for field in fields(group)}
    if isinstance(values["early_stopping"], str):
        values["early_stopping"] = values["early_stopping"].lower()
    return TrainingSpec(**values)


def flags_of_file(path: Path) -> list[str]:
    """The flags that a JSON or YAML file stands for."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}.") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: give one mapping of flag names to values.")
    return flags_of_dict(content)


def flags_of_dict(values: Mapping[str, Any]) -> list[str]:
    """The command line of a mapping; None stands for the default."""
    flags = []
    for name, value in values.items():
        if value is not None:
            # With "=", so that a text that begins with a dash stays a value.
            flags.append(f"--{name}={value}")
    return flags


def _unknown(argument: str) -> str:
    name = argument.lstrip("-").partition("=")[0]
    if not argument.startswith("-"):
        return f"{argument!r}: no flag takes this value. See -h."
    known = [field.name for field in fields(TrainingSpec)]
    near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
    hint = f"did you mean --{near[0]}?" if near else "see -h for those that exist."
    return f"--{name}: no such flag; {hint}"


def exit_with(error: InputError) -> NoReturn:
    """Ends the program as bad input does: one line on stderr, status 2."""
    print(error, file=sys.stderr)
    raise SystemExit(2)


def _stopped_outside_training(number: int, frame: object) -> NoReturn:
    name = signal.Signals(number).name
    say(f"{name}: stopped. The same command goes on from the newest checkpoint.")
    raise SystemExit(128 + number)


def main(trainer: Trainer, arguments: Sequence[str] | None = None) -> int:
    """The command line of one trainer; bad input ends it with status 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    traceback = "--traceback" in arguments
    # As an exception, so that nothing half-written stays; training has its own way
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.signal(kind, _stopped_outside_training) for kind in kinds}
    try:
        spec = parse([a for a in arguments if a != "--traceback"])
        report = trainer.run(spec)
    except InputError as error:
        if traceback:
            raise
        exit_with(error)
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        raise SystemExit(stopped.exit_status) from stopped
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    sys.stdout.write(json_text(report.metrics))
    return 0
