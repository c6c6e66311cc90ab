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


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    sys.exit(vars()[name].run(arguments))
