"""A pytest session within this one: some laws, on one trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LAWS_FOLDER = Path(__file__).parents[1] / "laws"
# Those of the outer session are in force. The last one of them collects garbage five
# times as a session ends: with three frameworks loaded, a second or two of each
LEFT_OUT = ("cacheprovider", "faulthandler", "randomly", "unraisableexception")
QUIET = ("-q", *(part for name in LEFT_OUT for part in ("-p", f"no:{name}")))


@dataclass(eq=False)  # a plugin is to be hashable
class Session:
    """What became of the laws."""

    outcomes: dict[str, list[str]] = field(default_factory=dict)
    """Of each outcome (passed, failed, skipped) the tests."""
    broken: list[str] = field(default_factory=list)
    """Tests that failed by their own assertion, not by an error."""
    properties: list[dict[str, Any]] = field(default_factory=list)
    """What the record says of each test."""
    status: int = 0
    """The exit status."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes.setdefault(report.outcome, []).append(report.nodeid)
        if report.when == "teardown":
            self.properties.append(dict(report.user_properties))

    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> None:
        found = call.excinfo
        if call.when == "call" and found and found.errisinstance(AssertionError):
            self.broken.append(item.nodeid)

    @property
    def states(self) -> list[str]:
        """The state of each test."""
        return [found["state"] for found in self.properties]


def session(trainer: str, *laws: str, options: tuple[str, ...] = ()) -> Session:
    """Tests these laws on the trainer of that text."""
    made = Session()
    asked = [option for law in laws for option in ("--law", law)]
    arguments = [str(LAWS_FOLDER), "--trainer", trainer, *asked, *options, *QUIET]
    made.status = int(pytest.main(arguments, plugins=[made]))
    return made
