"""Mutants of a command line: what goes wrong before a trainer has its spec.

    python -m conformance.mutants.command_line ignores_unknown_flags --do_train ...

is `run --trainer fixtures.numpy_backend:TRAINER --do_train ...` with that fault.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from conformance.mutants.planted import QUICK
from conformance.worker import run_command


@dataclass(frozen=True)
class Command:
    """A command line with one fault."""

    where: str
    """The function that is replaced."""
    fault: Callable[[Any], Any]
    caught_by: tuple[str, ...]

    @property
    def text(self) -> str:
        """What names it as a trainer."""
        return f"{sys.executable} -m {__name__} {self.fault.__name__}"

    def run(self, arguments: list[str]) -> int:
        sound = pkgutil.resolve_name(self.where)
        with mock.patch(self.where, self.fault(sound)):
            return run_command(["--trainer", QUICK, *arguments])


def command(where: str, *, caught_by: tuple[str, ...]) -> Callable[[Any], Command]:
    return lambda fault: Command(where, fault, caught_by)


@command("reference_trainers.spec_rules._check_value", caught_by=("input.bad-value",))
def takes_any_value(sound: Callable[..., None]) -> Callable[..., None]:
    """Finds out later what a value does."""
    return lambda name, value, facts: None


@command("argparse.ArgumentParser.parse_known_args", caught_by=("input.unknown-flag",))
def ignores_unknown_flags(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts any flag."""
    return lambda parser, *given: (sound(parser, *given)[0], [])


@command("reference_trainers.cli.flags_of_file", caught_by=("input.bad-spec-file",))
def reads_no_spec_file(sound: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Takes a spec file that it cannot read for an empty one."""

    def flags_of_file(path: Any) -> list[str]:
        try:
            return sound(path)
        except Exception:
            return []

    return flags_of_file


@command("argparse.ArgumentParser.format_help", caught_by=("guide.help",))
def helps_little(sound: Callable[..., str]) -> Callable[..., str]:
    """Shows how it is called, and explains nothing."""
    return lambda parser: parser.format_usage()


@command("reference_trainers.cli._texts", caught_by=("flags.any-order",))
def stops_reading(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Reads no flag behind --max_steps."""

    def texts(arguments: list[str], program: str | None) -> Any:
        for at, argument in enumerate(arguments):
            if argument.startswith("--max_steps="):
                return sound(arguments[: at + 1], program)
        return sound(arguments, program)

    return texts


@command("reference_trainers.cli.flags_of_file", caught_by=("flags.spec-file",))
def forgets_the_seed(sound: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Knows no seed in a spec file."""
    return lambda path: [flag for flag in sound(path) if not flag.startswith("--seed")]


@command("reference_trainers.cli._with_underscores", caught_by=("flags.defaults",))
def takes_a_switch_for_on(sound: Callable[[str], str]) -> Callable[[str], str]:
    """Takes a switch that is named for one that is on, whatever its value."""
    return lambda argument: sound(argument.removesuffix("=False"))


@command("reference_trainers.cli._with_underscores", caught_by=("flags.other-names",))
def confuses_two_names(sound: Callable[[str], str]) -> Callable[[str], str]:
    """Takes the old name of one limit for another's."""
    return lambda argument: sound(argument.replace("max_val_", "max_train_"))


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    sys.exit(vars()[name].run(arguments))
