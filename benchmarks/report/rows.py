"""What stands beside what: one row for each benchmark on each machine."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, stdev

from scipy.special import stdtrit

from benchmarks.gate.floors import mean_of
from benchmarks.reading import Machine, Record, Result

CONFIDENCE = 0.95
RATES = ("samples_per_second", "tokens_per_second", "flops_per_second", "mfu")
FLOOR = "floor_"  # and its kind: the name of a figure
SIZES = ("peak_host_bytes", "peak_device_bytes")


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval; None: there is too little data for one."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Key:
    """Only what has all of these in common is put side by side unasked."""

    what: str
    shape: str
    lengths: str
    spec: str
    precision: str
    versions: int
    """Number of a set of versions, from 1."""


@dataclass(frozen=True)
class Row:
    """One benchmark on one machine, from all its records of the newest commit."""

    key: Key
    trainer: str
    profile: str
    machine: Machine
    devices: int
    batch: int | None
    fullname: str
    figures: dict[str, Figure]
    """By name; one that was not told is missing."""
    processes: int
    commit: str


@dataclass(frozen=True)
class Point:
    """One benchmark in one record."""

    key: Key
    machine: Machine
    result: Result
    when: datetime
    commit: str


def points_of(records: Sequence[Record]) -> tuple[list[Point], list[dict[str, str]]]:
    """In order of time, and the sets of versions that a key's number means."""
    sets: list[dict[str, str]] = []
    points = []
    for record in sorted(records, key=lambda record: record.when):
        versions = dict(record.versions)
        if versions not in sets:
            sets.append(versions)
        for result in record.results:
            texts = result.texts
            key = Key(
                what=texts["what"],
                shape=texts["shape"],
                lengths=texts["lengths"],
                spec=texts["spec_hash"],
                precision=texts["precision"],
                versions=sets.index(versions) + 1,
            )
            points.append(
                Point(key, record.machine, result, record.when, record.commit)
            )
    return points, sets


def series_of(points: Iterable[Point]) -> list[list[Point]]:
    """Points of one benchmark on one machine, in order of time."""
    series: dict[tuple[Key, Machine, str], list[Point]] = defaultdict(list)
    for point in points:
        series[point.key, point.machine, point.result.fullname].append(point)
    return list(series.values())


def rows_of(points: Iterable[Point]) -> list[Row]:
    """Older commits are history, not further samples of the newest."""
    return [_row(series) for series in series_of(points)]


def _row(series: Sequence[Point]) -> Row:
    last = series[-1]
    newest = [point.result for point in series if point.commit == last.commit]
    if not last.commit:  # nothing says that two records are of one version
        newest = [last.result]
    result = last.result
    return Row(
        last.key,
        result.texts["trainer"],
        result.texts["profile"],
        last.machine,
        result.counts["devices"] or 1,
        result.counts["batch"],
        result.fullname,
        figures_of(newest),
        len(newest),
        last.commit,
    )


def figures_of(results: Sequence[Result]) -> dict[str, Figure]:
    """A speed has the interval of the seconds, turned round."""
    found = {}
    seconds = seconds_of(results)
    found["seconds"] = seconds
    for name in RATES:
        if (value := _mean([result.figures[name] for result in results])) is not None:
            found[name] = Figure(value, _turned(seconds, value))
    joules = [_per(result, "tokens", "joules") for result in results]
    if (value := _mean(joules)) is not None:
        found["tokens_per_joule"] = Figure(value)
    for name in SIZES:
        sizes = [result.figures[name] for result in results]
        known = [size for size in sizes if size is not None]
        if known:
            found[name] = Figure(max(known))
    return found | floors_of(results)


def floors_of(results: Sequence[Result]) -> dict[str, Figure]:
    """Throughput of the trainer over that of its floors; with a single record as it
    stands there."""
    found = {}
    for kind in results[-1].floors:
        floors = [result.floors[kind] for result in results if kind in result.floors]
        told = [floor for floor in floors if floor.interval is not None]
        if len(told) < 2:
            shown = told[0] if told else floors[-1]
            figure = Figure(shown.ratio, shown.interval)
        else:
            joint = mean_of(told)
            quantile = float(stdtrit(joint.freedom, (1 + CONFIDENCE) / 2))
            ends = (joint.mean + sign * quantile * joint.error for sign in (-1, 1))
            low, high = map(math.exp, ends)
            figure = Figure(math.exp(joint.mean), (low, high))
        found[f"{FLOOR}{kind}"] = figure
    return found


def seconds_of(results: Sequence[Result]) -> Figure:
    """Of a round, on average. Several processes: their t interval, of logs. One: that
    of its rounds, which says nothing of another process."""
    means = [fmean(result.seconds) for result in results]
    if len(means) > 1:
        logs = [math.log(mean) for mean in means]
        middle, half = fmean(logs), _half(logs)
        return Figure(
            math.exp(middle), (math.exp(middle - half), math.exp(middle + half))
        )
    (mean,), rounds = means, results[0].seconds
    half = _half(rounds) if len(rounds) > 1 else math.inf
    return Figure(mean, (mean - half, mean + half) if half < mean else None)


def _half(values: Sequence[float]) -> float:
    """Half the width of Student's t interval of a mean."""
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * stdev(values) / math.sqrt(len(values))


def _mean(values: Sequence[float | None]) -> float | None:
    """A single record's figure is shown as it stands there; several: geometric."""
    if len(values) == 1:
        return values[0]
    known = [value for value in values if value]
    if len(known) < len(values):
        return None
    return math.exp(fmean(map(math.log, known)))


def _turned(seconds: Figure, value: float) -> tuple[float, float] | None:
    if seconds.interval is None:
        return None
    low, high = seconds.interval
    return value * seconds.value / high, value * seconds.value / low


def _per(result: Result, what: str, cost: str) -> float | None:
    value, price = result.figures[what], result.figures[cost]
    return value / price if value and price else None
