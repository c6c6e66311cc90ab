"""Reads what `pytest conformance --record FILE` leaves: tests of laws, and the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.plugin.states import CRASH, NOT_RUN, PASS, STATES
from reference_trainers import InputError

SAID = (
    *("law", "sentence", "trainer", "profile"),
    *("state", "reason", "machine", "versions"),
)
REASON_LENGTH = 2000
ENDED_WELL = (0, 1, 5)  # all passed, some failed, none was asked for
NEVER_ENDED = "It began, and the record does not say how it ended."


@dataclass(frozen=True)
class Part:
    """One test of a law; a law may have several on one trainer and profile."""

    law: str
    sentence: str
    trainer: str
    """Empty: it was left out for all trainers."""
    profile: str
    """Empty: it was left out on all profiles."""
    machine: str
    state: str
    reason: str = ""
    limit: str = ""
    """Why a failure is known; empty: no limit stands."""
    limit_place: str = ""


@dataclass(frozen=True)
class Outside:
    """A failure that is no law's: a module that cannot be imported, a lost process."""

    test: str
    reason: str


@dataclass(frozen=True)
class Record:
    """One run of the suite."""

    name: str
    """As it was given on the command line."""
    parts: tuple[Part, ...] = ()
    outside: tuple[Outside, ...] = ()
    versions: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    """Seconds since 1970; None: no test was begun."""
    flaw: str = ""
    """Why it is not the whole of a run; empty: it is."""

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.machine for part in self.parts))


def read_record(path: Path) -> Record:
    """Raises `InputError` with the line that is none of a record."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    lines = _lines(path, content)
    reports = [
        (line, _said(f"{path}:{number}", line))
        for number, line in enumerate(lines, start=1)
        if line["$report_type"] in ("TestReport", "CollectReport")
    ]
    times = [line.get(key) for line, _ in reports for key in ("start", "stop")]
    begun = [time for time in times if isinstance(time, (int, float)) and time > 0]
    outside = tuple(
        Outside(str(line.get("nodeid", "")), _message(line.get("longrepr")))
        for line, said in reports
        if line.get("outcome") == "failed" and not said
    )
    return Record(
        name=str(path),
        parts=tuple(_parts([found for found in reports if found[1]], outside)),
        outside=outside,
        versions=tuple(dict.fromkeys(s["versions"] for _, s in reports if s)),
        started=min(begun, default=None),
        ended=max(begun, default=None),
        flaw=_flaw(lines[-1]),
    )


ADVICE = "`pytest conformance --record FILE` writes one."


def _lines(path: Path, content: bytes) -> list[dict[str, Any]]:
    """All but a last one that is cut off."""
    raw = content.rstrip().split(b"\n")
    lines = [_line(text) for text in raw]
    if lines[-1] is None and len(lines) > 1 and not content.endswith(b"\n"):
        del lines[-1]
    for number, line in enumerate(lines, start=1):
        if line is None:
            raise InputError(f"{path}:{number}: this is no line of a record; {ADVICE}")
    whole = [line for line in lines if line]
    if whole[0]["$report_type"] != "SessionStart":
        raise InputError(f"{path}:1: a record begins with SessionStart; {ADVICE}")
    return whole


def _line(raw: bytes) -> dict[str, Any] | None:
    """None: it is no line of a record."""
    try:
        line = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    known = isinstance(line, dict) and isinstance(line.get("$report_type"), str)
    return line if known else None


def _flaw(last: Mapping[str, Any]) -> str:
    if last["$report_type"] != "SessionFinish":
        return "it is cut off: the run did not come to its end"
    status = last.get("exitstatus")
    if status in ENDED_WELL:
        return ""
    return f"pytest was stopped before all was tested (exit status {status})"


def _said(where: str, line: Mapping[str, Any]) -> dict[str, str]:
    """What a line says of a law; nothing: it is no law's."""
    pairs = line.get("user_properties") or []
    try:
        found = {str(name): str(value) for name, value in pairs}
    except (TypeError, ValueError):
        raise InputError(f"{where}: user_properties is no list of pairs.") from None
    if "law" not in found:
        return {}
    for name in SAID:
        if name not in found:
            raise InputError(f"{where}: a line of {found['law']} has no {name}.")
    if found["state"] not in STATES:
        raise InputError(
            f"{where}: the state {found['state']!r} is none of {', '.join(STATES)}."
        )
    return found


def _message(longrepr: Any) -> str:
    """pytest writes a failure in several forms."""
    if isinstance(longrepr, dict):
        crash = longrepr.get("reprcrash")
        longrepr = crash.get("message") if isinstance(crash, dict) else None
    return str(longrepr or "").strip()[:REASON_LENGTH]


def _parts(
    reports: Sequence[tuple[Mapping[str, Any], dict[str, str]]],
    outside: Sequence[Outside],
) -> list[Part]:
    """Of each test the worst that setup, call or teardown says."""
    parts: list[Part] = []
    begun: dict[str, list[dict[str, str]]] = {}
    for line, said in reports:
        test = str(line.get("nodeid", ""))
        begun.setdefault(test, []).append(said)
        if line.get("when") == "teardown":
            phases = begun.pop(test)
            state = max((phase["state"] for phase in phases), key=STATES.index)
            parts.append(_part(phases[-1], state, phases[-1]["reason"]))
    lost = {failure.test: failure.reason for failure in outside}
    for test, phases in begun.items():
        parts.append(_part(phases[-1], CRASH, lost.get(test, NEVER_ENDED)))
    return parts


def _part(said: Mapping[str, str], state: str, reason: str) -> Part:
    # Without a trainer there is nobody who could keep a law
    left_out = not said["trainer"] and state == PASS
    return Part(
        law=said["law"],
        sentence=said["sentence"],
        trainer=said["trainer"],
        profile=said["profile"],
        machine=said["machine"],
        state=NOT_RUN if left_out else state,
        reason=reason,
        limit=said.get("limit", ""),
        limit_place=said.get("limit_place", ""),
    )
