"""What can become of a law: seven states, from best to worst."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from conformance.launch import Crashed, TimedOut

PASS = "pass"
NOT_RUN = "not run"
KNOWN_LIMIT = "known limit"
LIMIT_LIFTED = "limit lifted"
FAIL = "fail"
TIMEOUT = "timeout"
CRASH = "crash"
STATES = (PASS, NOT_RUN, KNOWN_LIMIT, LIMIT_LIFTED, FAIL, TIMEOUT, CRASH)
BAD = (LIMIT_LIFTED, FAIL, TIMEOUT, CRASH)
"""Those with which a run of the suite fails."""


def state_of(report: pytest.TestReport, call: pytest.CallInfo[Any]) -> str:
    """The state that one phase of a test leaves, limits aside."""
    if report.passed:
        return PASS
    if report.skipped:
        return NOT_RUN
    error = call.excinfo.value if call.excinfo else None
    # pytest-timeout fails a test with these words
    if isinstance(error, TimedOut) or str(error).startswith("Timeout"):
        return TIMEOUT
    return CRASH if isinstance(error, Crashed) else FAIL


def worst(states: Iterable[str]) -> str:
    """Of the parts of a law: a pass beside a part that was not run is a pass."""
    found = set(states)
    if found <= {PASS, NOT_RUN}:
        return PASS if PASS in found else NOT_RUN
    return max(found, key=STATES.index)
