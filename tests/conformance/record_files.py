"""Records as `pytest conformance --record FILE` writes them, of no real run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MACHINE = "Linux x86_64, 2 cores, 24 GiB"
STARTED = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
START = {"pytest_version": "9", "$report_type": "SessionStart"}
FINISH = {"exitstatus": 0, "$report_type": "SessionFinish"}


def phase(
    law: str,
    state: str = "pass",
    reason: str = "",
    *,
    trainer: str = "mine:TRAINER",
    profile: str = "cpu",
    machine: str = MACHINE,
    when: str = "teardown",
    test: str = "",
    limit: str = "",
) -> dict[str, Any]:
    """A line of one phase of a law's test."""
    said = {
        "law": law,
        "sentence": f"What {law} says.",
        "trainer": trainer,
        "profile": profile,
        "state": state,
        "reason": reason,
        "machine": machine,
        "versions": "python 3.11.7, numpy 2.4.6",
    }
    if limit:
        said |= {"limit": limit, "limit_place": "--limits limits.toml, limit 1"}
    return {
        "nodeid": test or f"test_law[{law}-{trainer}-{profile}]",
        "when": when,
        "outcome": "passed",
        "longrepr": None,
        "user_properties": [[name, value] for name, value in said.items()],
        "start": STARTED,
        "stop": STARTED + 600,
        "$report_type": "TestReport",
    }


def failure(test: str, longrepr: Any, kind: str = "CollectReport") -> dict[str, Any]:
    """A line of what failed and is no law's."""
    return {
        "nodeid": test,
        "outcome": "failed",
        "longrepr": longrepr,
        "$report_type": kind,
    }


def write_record(
    path: Path,
    lines: Iterable[Mapping[str, Any]],
    end: Mapping[str, Any] | None = FINISH,
) -> Path:
    """`end`: the last line; None: the run was cut off."""
    whole = [START, *lines, *([end] if end else [])]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in whole))
    return path
