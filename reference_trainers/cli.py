"""The command line of a trainer: flags and a JSON or YAML file -> TrainingSpec -> run.

Flags are read before any library is imported, so `-h` and a mistake cost no wait.
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reference_trainers import old_flags
from reference_trainers.errors import (
    InputError,
    ProcessLost,
    TrainingStopped,
    line_of,
)
from reference_trainers.flags import GROUPS, HubFlags
from reference_trainers.spec import TrainingSpec
from reference_trainers.spec_file import FILE_ENDINGS, flags_of_file
from reference_trainers.spec_rules import kinds
from reference_trainers.world import world_of

if TYPE_CHECKING:
    from reference_trainers.protocols import Trainer
    from reference_trainers.results import RunReport

TRACEBACK_HELP = "After an error, show where in the code it came from."
WHAT_A_VALUE_IS: dict[type, str] = {int: "N", float: "X", str: "TEXT"}

DASHES = "\0--"  # for a value of two dashes, which argparse takes for none
GRACE = 2.0  # seconds


# ---- flags -> spec -------------------------------------------------------------------


def parse(arguments: Sequence[str], program: str | None = None) -> TrainingSpec:
    """Flags win over those of a spec file, which may come first.

    Raises `InputError` for an unknown flag, a wrong value or a missing file.
    """
    arguments = list(arguments)
    texts: dict[str, str] = {}
    if arguments and arguments[0].endswith(FILE_ENDINGS):
        texts = _texts(flags_of_file(Path(arguments.pop(0))), program)
    texts |= _texts(arguments, program)
    values: dict[str, Any] = {k: kinds()[k].read(text) for k, text in texts.items()}
    return TrainingSpec(**values)


def _texts(arguments: Sequence[str], program: str | None) -> dict[str, str]:
    """The text of each flag that is given, under its present name."""
    found, unknown = parser(program).parse_known_args(
        [_with_underscores(argument) for argument in arguments]
    )
    if unknown:
        raise InputError(_unknown(unknown[0]))
    given = {k: "--" if v == DASHES else v for k, v in vars(found).items()}
    given.pop("traceback", None)  # `main` saw it
    return old_flags.translated(given)


def _with_underscores(argument: str) -> str:
    """``--max-steps=3`` is ``--max_steps=3``."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    value = DASHES if value == "--" else value
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _unknown(argument: str) -> str:
    name = argument.lstrip("-").partition("=")[0]
    if not argument.startswith("-"):
        return f"{argument!r}: no flag takes this value. See -h."
    if name in old_flags.REFUSED:
        return f"--{name}: {old_flags.REFUSED[name]}"
    near = difflib.get_close_matches(name, kinds(), 1)
    hint = f"did you mean --{near[0]}?" if near else "see -h for those that exist."
    return f"--{name}: no such flag; {hint}"


# ---- -h ------------------------------------------------------------------------------


class OneSentenceParser(argparse.ArgumentParser):
    """Refuses in one sentence, not with a page of usage."""

    def error(self, message: str) -> NoReturn:
        # "argument --max_steps/--max_train_steps: ..." -> "--max_steps: ..."
        name, _, problem = message.removeprefix("argument ").partition(": ")
        raise InputError(f"{name.partition('/')[0]}: {problem.rstrip('.')}. See -h.")


def parser(program: str | None = None) -> argparse.ArgumentParser:
    """The parser of every trainer: the text of each flag that is given, no more."""
    made = OneSentenceParser(
        prog=program,
        # An abbreviation that is clear today may be ambiguous tomorrow.
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        usage="%(prog)s [spec.yaml | spec.json] [--flag value ...]",
        description="Fine-tunes a sequence-to-sequence model to summarize.",
    )
    made.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)
    for group in GROUPS:
        title = group.__name__.removesuffix("Flags").lower()
        section = made.add_argument_group(title, group.__doc__)
        for flag in fields(group):
            _add(section, flag.name, flag.default, flag.metadata)
    old = made.add_argument_group("older scripts", "Understood, as transformers' own.")
    for name, meaning in old_flags.UNDERSTOOD.items():
        _add_text(old, [name], meaning, old_flags.takes_no_value(name), "TEXT")
    for name, (only, why) in old_flags.ONLY.items():
        alone = old_flags.takes_no_value(name)
        _add_text(old, [name], f"Only {only}: {why}.", alone, "TEXT")
    return made


def add_push(commands: Any) -> None:
    """The command that pushes what a run left, with the flags of the Hub."""
    pushed = commands.add_parser(
        "push",
        help="push what a run left in its output folder",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    pushed.add_argument("output_dir", help="the folder")
    pushed.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)
    for flag in fields(HubFlags):
        if flag.name not in ("push_to_hub", "hub_strategy"):
            _add(pushed, flag.name, flag.default, flag.metadata)


def _add(section: Any, name: str, default: Any, facts: Mapping[str, Any]) -> None:
    kind = kinds()[name]
    said = facts["help"]
    if default not in (None, False, ""):
        shown = f"{default:g}" if kind.type is float else default
        said += f" Default: {shown}."
    value = WHAT_A_VALUE_IS.get(kind.type, "BOOL")
    if kind.choices:
        value = f"{{{','.join(kind.choices)}}}"
    _add_text(section, [name, *facts["aliases"]], said, kind.type is bool, value)
    if default is True:
        section.add_argument(
            f"--no_{name}", dest=name, action="store_const", const="false"
        )


def _add_text(
    section: Any, names: Sequence[str], help: str, alone: bool, value: str
) -> None:
    """`alone`: a switch, which is on where it has no value."""
    spellings = [f"--{name}" for name in names]
    given = {"nargs": "?", "const": "true"} if alone else {}
    section.add_argument(
        *spellings, dest=names[0], metavar=value, help=help.replace("%", "%%"), **given
    )


# ---- run -----------------------------------------------------------------------------


class _Stopped(SystemExit):
    """A signal before training; an exit, so that nothing half-written stays."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def _stop(number: int, frame: object) -> NoReturn:
    raise _Stopped(number)


def main(
    trainer: Trainer,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Runs a command line; the exit status: 0, 2 for bad input, 3 where the
    result was not pushed, 128 + a signal."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # From training on, a run has its own way, which saves what is finished
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in signals}
    # nohup, or a shell in the background, had one ignored: it stays ignored
    before = {n: handler for n, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, _stop)
    try:
        spec = parse(arguments, program)
        report = trainer.run(spec)
    except InputError as error:
        return after_the_first(refused(error, "--traceback" in arguments))
    except TrainingStopped as stopped:
        if _speaks():
            print(stopped, file=sys.stderr)
        status = after_the_first(stopped.exit_status)
        if isinstance(stopped, ProcessLost):
            sys.stderr.flush()
            os._exit(status)  # frameworks would wait for it as they end
        return status
    except _Stopped as stopped:
        print(f"{stopped.name}: stopped before anything was done.", file=sys.stderr)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    from reference_trainers.results import json_text  # here: it needs numpy

    if _speaks():
        sys.stdout.write(json_text(report.metrics))
    return pushed_or_told(report)


def after_the_first(status: int) -> int:
    """Of several processes the first ends first: a launcher ends all with the one
    that fails, and that one has still to say why."""
    if not _speaks():
        time.sleep(GRACE)
    return status


def _speaks() -> bool:
    """Of several processes the first alone says what all have met."""
    try:
        return world_of().first
    except InputError:  # which is what it says
        return True


def pushed_or_told(report: RunReport) -> int:
    """The exit status of a run that has ended well: 3 where its push did not."""
    if report.push is None or report.push["problem"] is None:
        return 0
    folder = report.spec["output_dir"]
    if _speaks():
        print(
            f"{folder} is whole, but was not pushed: {report.push['problem']}\n"
            f"To push it: python -m reference_trainers push {folder}",
            file=sys.stderr,
        )
    return 3


def refused(error: InputError, with_traceback: bool = False) -> int:
    """Says what is wrong, in one line on stderr; the exit status of bad input."""
    if with_traceback:
        traceback.print_exception(error)
    elif _speaks():
        print(line_of(error), file=sys.stderr)
    return 2


def exit_with(error: InputError, with_traceback: bool = False) -> NoReturn:
    """Ends the program as bad input does."""
    raise SystemExit(refused(error, with_traceback))
