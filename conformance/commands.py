"""Runs a trainer as its users do: a command line, an exit status, a line on stderr."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.runs import STANDARD, Runs
from reference_trainers.cli import flags_of_dict

PROGRESS = re.compile(r"step \d+/\d+ ")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    lines: list[str]
    """What it said on stderr, without its log lines."""


@dataclass(frozen=True)
class Command:
    """`python -m reference_trainers --trainer NAME`, in this process."""

    name: str
    run: Runs
    top: Path
    """Where nothing may change when a command is refused."""
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.top / "output"

    def __call__(self, *more: str, **flags: Any) -> Ended:
        """The standard run with `flags` changed, and `more` arguments before them."""
        standard: dict[str, Any] = {**STANDARD, **self.run.inputs.flags()}
        where = {**self.run.profile.flags, "output_dir": str(self.folder)}
        arguments = flags_of_dict({**standard, **where, **flags})
        command = ["reference_trainers", "--trainer", self.name, *more, *arguments]
        self.patch.setattr(sys, "argv", command)
        self.capture.readouterr()
        status: Any = 0
        try:
            runpy.run_module("reference_trainers", run_name="__main__")
        except SystemExit as exit:
            status = exit.code
        said = self.capture.readouterr().err.splitlines()
        return Ended(status, [line for line in said if not PROGRESS.match(line)])

    def refused(self, *more: str, **flags: Any) -> str:
        """The sentence with which it is refused, having changed nothing."""
        before = listing(self.top)
        ended = self(*more, **flags)
        said = "\n".join(ended.lines)
        assert ended.status == 2, f"exit status {ended.status}, expected 2; {said}"
        assert len(ended.lines) == 1, f"one sentence on stderr is due, not: {said}"
        after = listing(self.top)
        changed = sorted(
            name
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        )
        assert not changed, f"a refused run changes or leaves behind: {changed}"
        return ended.lines[0]


def listing(top: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, with the age and content of each file."""
    return {
        path.relative_to(top).as_posix(): (
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in top.rglob("*")
    }
