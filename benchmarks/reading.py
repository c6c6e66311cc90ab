"""Reads records: what `python -m benchmarks run` leaves, in pytest-benchmark's form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from reference_trainers import InputError

ADVICE = "`python -m benchmarks run` writes one."
TEXTS = (
    *("trainer", "profile", "what", "shape", "lengths"),
    *("precision", "spec_hash"),
)
COUNTS = ("devices", "batch")
FIGURES = (
    *("samples", "tokens", "flops"),
    *("samples_per_second", "tokens_per_second", "flops_per_second", "mfu"),
    *("peak_host_bytes", "peak_device_bytes", "joules"),
)


@dataclass(frozen=True)
class Floor:
    """The same work in a bare step, in pairs with the trainer's, in one process."""

    seconds: tuple[float, ...]
    ratio: float
    """Throughput of the trainer over the floor's: above 1 the trainer is faster."""
    interval: tuple[float, float] | None
    """95 %; None: of a single pair."""


@dataclass(frozen=True)
class Machine:
    """Records with the same three are of one machine, as far as speed goes."""

    kind: str
    cores: int | None
    threads: str
    """Settings of the environment, or a number; empty: not told."""

    @property
    def name(self) -> str:
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        # Some kinds say their cores themselves
        said = self.cores is None or cores in self.kind
        parts = [self.kind, "" if said else cores, self.threads]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Result:
    """One benchmark of one process."""

    fullname: str
    seconds: tuple[float, ...]
    """A round each."""
    texts: Mapping[str, str]
    """By `TEXTS`; empty where it has no meaning."""
    counts: Mapping[str, int | None]
    """By `COUNTS`."""
    figures: Mapping[str, float | None]
    """By `FIGURES`; None: it was not told."""
    floors: Mapping[str, Floor]

    @property
    def value(self) -> float:
        """Seconds of a round: the median, which one disturbed round does not move."""
        return median(self.seconds)


@dataclass(frozen=True)
class Record:
    """One run of the benchmarks: one process on one machine."""

    name: str
    """As it was given on the command line."""
    machine: Machine
    versions: Mapping[str, str]
    commit: str
    """Empty: it was made outside of a clone."""
    when: datetime
    results: tuple[Result, ...]


def read_records(paths: Iterable[Path]) -> list[Record]:
    """Raises `InputError` for one that is there twice: it would count as two."""
    records: list[Record] = []
    for record in map(read_record, paths):
        for other in records:
            if replace(other, name=record.name) == record:
                raise InputError(
                    f"{record.name}: it is the same record as {other.name}; give each "
                    "of them once."
                )
        records.append(record)
    return records


def read_record(path: Path) -> Record:
    """Raises `InputError` with what is none of a record's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}: this is no JSON; {ADVICE}") from None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise InputError(f"{path}: this is no record of benchmarks; {ADVICE}")
    if not content["benchmarks"]:
        raise InputError(f"{path}: no benchmark was run; give a record that has some.")
    machine = _dict(content, "machine_info", f"{path}")
    commit = content.get("commit_info")
    results = tuple(
        _result(found, f"{path}: benchmark {number}")
        for number, found in enumerate(content["benchmarks"], start=1)
    )
    return Record(
        name=str(path),
        machine=Machine(
            _text(machine, "kind", f"{path}: machine_info"),
            _count(machine, "cores", f"{path}: machine_info"),
            _threads(machine.get("threads")),
        ),
        versions={
            str(library): str(version)
            for library, version in _dict(machine, "versions", f"{path}").items()
        },
        commit=str(commit.get("id") or "") if isinstance(commit, dict) else "",
        when=_moment(content.get("datetime"), f"{path}"),
        results=results,
    )


def _result(found: Any, where: str) -> Result:
    if not isinstance(found, dict) or not isinstance(found.get("fullname"), str):
        raise InputError(f"{where} has no fullname; {ADVICE}")
    where = f"{where}, {found['fullname']}"
    extra = _dict(found, "extra_info", where)
    floors = extra.get("floors") or {}
    if not isinstance(floors, dict):
        raise InputError(f"{where}: floors is no table of floors.")
    return Result(
        fullname=found["fullname"],
        seconds=_seconds(_dict(found, "stats", where).get("data"), f"{where}: data"),
        texts={key: _text(extra, key, where) for key in TEXTS},
        counts={key: _count(extra, key, where) for key in COUNTS},
        figures={key: _figure(extra, key, where) for key in FIGURES},
        floors={
            str(kind): _floor(floor, f"{where}: the floor {kind}")
            for kind, floor in floors.items()
        },
    )


def _floor(found: Any, where: str) -> Floor:
    if not isinstance(found, dict):
        raise InputError(f"{where} is no table of seconds, ratio and interval.")
    ratio, interval = found.get("ratio"), found.get("interval")
    seconds = _seconds(found.get("seconds"), f"{where}: seconds")
    if interval == [None, None] and ratio and _positive(ratio) and len(seconds) == 1:
        return Floor(seconds, float(ratio), None)
    numbers = [ratio, *interval] if isinstance(interval, list) else []
    if len(numbers) != 3 or not all(map(_positive, numbers)):
        raise InputError(f"{where} has no ratio above 0 with an interval of two.")
    ratio, low, high = map(float, numbers)
    if not low <= ratio <= high:
        raise InputError(f"{where}: its ratio {ratio} lies outside of its interval.")
    return Floor(seconds, ratio, (low, high))


def _dict(found: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = found.get(key)
    if not isinstance(value, dict):
        raise InputError(f"{where} has no {key}; {ADVICE}")
    return value


def _threads(found: Any) -> str:
    if isinstance(found, dict):
        return " ".join(f"{name}={value}" for name, value in sorted(found.items()))
    return f"{found} thread{'s' * (found != 1)}" if found is not None else ""


def _text(found: Mapping[str, Any], key: str, where: str) -> str:
    if key not in found:
        raise InputError(f"{where} has no {key}; {ADVICE}")
    return "" if found[key] is None else str(found[key])


def _count(found: Mapping[str, Any], key: str, where: str) -> int | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{where}: {key} is {value!r}, and no whole number above 0.")
    return value


def _figure(found: Mapping[str, Any], key: str, where: str) -> float | None:
    value = found.get(key)
    if value is None:
        return None
    if not _number(value) or value < 0:
        raise InputError(f"{where}: {key} is {value!r}, and no number from 0.")
    return float(value)


def _seconds(found: Any, where: str) -> tuple[float, ...]:
    if not isinstance(found, list) or not found or not all(map(_positive, found)):
        raise InputError(f"{where} is no list of seconds above 0; {ADVICE}")
    return tuple(map(float, found))


def _number(value: Any) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _moment(found: Any, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(found)
    except (TypeError, ValueError):
        raise InputError(f"{where}: datetime is {found!r}, and no moment.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
