"""When the runs of the records were, and how long ago."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from conformance.report.records import Record
from conformance.report.verdict import number


@dataclass(frozen=True)
class Run:
    """What a record says of its run as a whole."""

    record: Record
    tests: int
    started: str
    """As a reader writes it; empty: no test was begun."""
    iso: str
    """As a script reads it."""
    age: str
    minutes: str


def run_of(record: Record, now: datetime) -> Run:
    tests = len(record.parts)
    if record.started is None or record.ended is None:
        return Run(record, tests, "", "", "", "")
    return Run(
        record,
        tests,
        moment(record.started),
        datetime.fromtimestamp(record.started, UTC).isoformat(timespec="seconds"),
        age(now.timestamp() - record.started),
        number(max(1, round((record.ended - record.started) / 60)), "minute"),
    )


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def age(seconds: float) -> str:
    """In whole days, hours or minutes."""
    for unit, length in (("day", 86400), ("hour", 3600)):
        if seconds >= 2 * length:
            return number(int(seconds // length), unit)
    return number(max(0, int(seconds // 60)), "minute")
