"""A pytest plugin of the processes that the gate starts: it writes down what was really
measured. It is copied and loaded alone, beside any version of the rest: so it imports
nothing of the gate's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import reference_trainers

FILE = "GATE_WITNESS"
"""The variable that names the file to write."""

_collected: list[str] = []
_failures: dict[str, str] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    _collected.extend(item.nodeid for item in session.items)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def _note(report: Any) -> None:
    """The last line of a failure says most."""
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash else str(report.longrepr or "it failed")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        _failures[report.nodeid] = lines[0 if crash else -1]


def pytest_sessionfinish() -> None:
    found = {
        "package": str(Path(str(reference_trainers.__file__)).resolve().parent),
        "collected": _collected,
        "failures": _failures,
    }
    Path(os.environ[FILE]).write_text(json.dumps(found), encoding="utf-8")
