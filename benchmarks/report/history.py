"""One benchmark of one machine over time, with the steps that are more than noise; and
one benchmark on more and more devices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from benchmarks.report.change_points import change_points
from benchmarks.report.rows import Key, Point, Row, series_of

FEWEST = 2  # points of a history


@dataclass(frozen=True)
class Level:
    """Points without a step between them."""

    first: int
    last: int
    seconds: float
    """Median."""


@dataclass(frozen=True)
class Change:
    """A step from one level to the next."""

    at: Point
    ratio: float
    """Seconds after it over those before: above 1 is slower."""


@dataclass(frozen=True)
class History:
    """In order of time."""

    points: tuple[Point, ...]
    levels: tuple[Level, ...]
    changes: tuple[Change, ...]


def histories(points: Iterable[Point], across_versions: bool) -> list[History]:
    """`across_versions`: a new version of a library does not begin a new history."""
    found = list(points)
    if across_versions:
        found = [replace(p, key=replace(p.key, versions=0)) for p in found]
    return [history(those) for those in series_of(found) if len(those) >= FEWEST]


def history(points: Sequence[Point]) -> History:
    values = [point.result.value for point in points]
    cuts = [0, *change_points([math.log(value) for value in values]), len(points)]
    levels = tuple(
        Level(first, end - 1, median(values[first:end]))
        for first, end in pairwise(cuts)
    )
    changes = tuple(
        Change(points[after.first], after.seconds / before.seconds)
        for before, after in pairwise(levels)
    )
    return History(tuple(points), levels, changes)


# ---- devices ------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """So many devices: how much faster than the fewest, and how much was ideal."""

    row: Row
    speed_up: float
    ideal: float

    @property
    def efficiency(self) -> float:
        return self.speed_up / self.ideal


@dataclass(frozen=True)
class Scaling:
    """By devices."""

    steps: tuple[Step, ...]


def scalings(rows: Iterable[Row]) -> list[Scaling]:
    """By samples per second; the batch may grow with the devices, or not."""
    found: dict[tuple[Key, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if "samples_per_second" in row.figures:
            found[row.key, row.trainer, row.machine.name].append(row)
    made = []
    for those in found.values():
        by_devices = sorted(those, key=lambda row: row.devices)
        if len({row.devices for row in those}) > 1:
            made.append(Scaling(tuple(_steps(by_devices))))
    return made


def _steps(rows: Sequence[Row]) -> Iterable[Step]:
    first = rows[0]
    slowest = first.figures["samples_per_second"].value
    for row in rows:
        speed_up = row.figures["samples_per_second"].value / slowest
        yield Step(row, speed_up, row.devices / first.devices)
