"""What a run of the suite leaves: each report says its law, trainer, profile and state.

They stand in pytest's own `user_properties`, so that `--record FILE` (the JSON lines of
pytest-reportlog) and `--junitxml FILE` both have them. A failure under a known limit is
an xfail; a limit that is lifted fails the run in the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from conformance.catalogue import laws
from conformance.hardware import installed, machine
from conformance.law import law_of
from conformance.plugin.limits import Limit, limit_of, read_limits
from conformance.plugin.states import (
    KNOWN_LIMIT,
    LIMIT_LIFTED,
    NOT_RUN,
    PASS,
    STATES,
    state_of,
    worst,
)
from reference_trainers import InputError

PHASES = pytest.StashKey[list[tuple[str, str]]]()  # of a test: states, with reasons
REASON_LENGTH = 2000


LIMITS = pytest.StashKey[Iterable[Limit]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--limits",
        type=Path,
        metavar="FILE",
        help="known limits of the trainers that are tested (docs/add-a-trainer.md)",
    )
    group.addoption(
        "--record",
        metavar="FILE",
        help="what became of each law, as JSON lines; for `conformance report`",
    )


@pytest.hookimpl(tryfirst=True)  # pytest-reportlog reads its option as it is configured
def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--limits")
    record = config.getoption("--record")
    if record is not None:
        config.option.report_log = record
    config.stash[LIMITS] = ()
    if path is not None:
        laws()  # all of them are known
        try:
            config.stash[LIMITS] = read_limits(path, date.today())
        except InputError as error:
            raise pytest.UsageError(str(error)) from None
    if not hasattr(config, "workerinput"):  # of pytest-xdist, which reports to another
        config.pluginmanager.register(Verdict())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    law = law_of(getattr(item, "function", None))
    if law is None:
        return report
    params = item.callspec.params if hasattr(item, "callspec") else {}
    trainer, profile = params.get("subject", ""), params.get("profile", "")
    limit = limit_of(item.config.stash[LIMITS], law, trainer, profile)
    state, reason = state_of(report, call), _reason(call)
    if limit and state not in (PASS, NOT_RUN):
        state = KNOWN_LIMIT
        report.outcome = "skipped"
        report.wasxfail = f"known limit: {limit.why}"  # type: ignore[attr-defined]
    phases = item.stash.setdefault(PHASES, [])
    phases.append((state, reason))
    properties = {
        "law": law.id,
        "sentence": law.sentence,
        "trainer": trainer,
        "profile": profile,
        # Not `worst`, which is for parts: what was skipped is torn down well
        "state": max((state for state, _ in phases), key=STATES.index),
        "reason": " ".join(reason for _, reason in phases if reason),
        "machine": machine(),
        "versions": installed(),
    }
    if limit:
        properties |= {"limit": limit.why, "limit_place": limit.place}
    report.user_properties += properties.items()
    return report


def _reason(call: pytest.CallInfo[Any]) -> str:
    """Why a phase did not pass, in words; empty: it did."""
    if call.excinfo is None:
        return ""
    return str(call.excinfo.value).strip()[:REASON_LENGTH]


# ---- the end of a session: in the one process that hears of every test --------------


class Verdict:
    """Fails a run that ended well but for a limit that is lifted."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, ...], list[str]] = defaultdict(list)
        """Of each law, trainer and profile under a limit: the states of its tests."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        if report.when == "teardown" and "limit_place" in found:
            names = ("law", "trainer", "profile", "limit_place")
            self.held[tuple(str(found[name]) for name in names)] += [
                str(found["state"])
            ]

    def sentences(self) -> list[str]:
        """One for each limit that the trainer now keeps."""
        return [
            f"{LIMIT_LIFTED}: {trainer} keeps {law} on {profile}; remove {place}."
            for (law, trainer, profile, place), states in self.held.items()
            if worst(states) == PASS
        ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.sentences() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for sentence in self.sentences():
            terminalreporter.write_line(sentence, red=True)
