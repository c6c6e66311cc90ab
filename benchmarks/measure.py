"""Takes times: of the steps of a training loop, and of calls, beside those of a floor.

A clock is read when the device has answered, never before: ``float(update.loss)``
waits for a step, and what is called gives numbers of the host. What was compiled tells
warm-up from work: a round in which anything was compiled is left out, and so is the
first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.figures import joules_between
from benchmarks.machine import PeakMemory
from reference_trainers import (
    Backend,
    BareStep,
    GlobalBatch,
    TrainingStopped,
    Update,
)

Clock = Callable[[], float]
Lengths = tuple[tuple[int, int], ...]
TIMES_ALONE = "BENCHMARKS_TIMES_ALONE"
"""Set in the environment of the gate's processes: no floor and no peak is measured."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: so many rounds, or fewer where they take too long."""

    rounds: int
    seconds: float
    """When the rounds have taken so long in all, no other is begun."""
    fewest: int = 2

    def times(self, factor: float) -> Effort:
        """So much more of it."""
        rounds = max(self.fewest, round(factor * self.rounds))
        return Effort(rounds, factor * self.seconds, self.fewest)

    def is_done(self, rounds: int, elapsed: float) -> bool:
        if rounds < self.fewest:
            return False
        return rounds >= self.rounds or elapsed >= self.seconds


@dataclass(frozen=True)
class Tools:
    """What measures; each may be another one in a test."""

    clock: Clock = time.perf_counter
    second_clock: Clock = time.monotonic
    energy: Callable[[], float | None] = lambda: None
    memory: PeakMemory = field(default_factory=PeakMemory)
    floors: bool = True
    """Whether they are measured too; the gate needs the trainers' own times alone."""


@dataclass
class Measured:
    """What rounds came to; all lists have one entry a round."""

    seconds: list[float] = field(default_factory=list)
    floors: dict[str, list[float]] = field(default_factory=dict)
    """By name, the seconds of a floor beside each round."""
    lengths: list[Lengths] = field(default_factory=list)
    """True lengths (source, target) of each row of each round."""
    joules_before: list[float | None] = field(default_factory=list)
    joules_after: list[float | None] = field(default_factory=list)
    warm_up: list[float] = field(default_factory=list)
    """Seconds of what came before, and of rounds in which something was compiled."""
    rows_seen: int = 0
    elapsed: float = 0.0
    """Rows that were seen to go by in the rounds, and by a second clock how long they
    took: to hold the figures against."""
    peak_host_bytes: int | None = None
    """With the trainer warm, and no floor loaded yet."""

    @property
    def joules(self) -> float | None:
        return joules_between(self.joules_before, self.joules_after)

    @property
    def spent(self) -> float:
        """Seconds of all rounds, with their floors."""
        return sum(self.seconds) + sum(map(sum, self.floors.values()))


class Watch:
    """The hooks of a training loop that is measured until enough is known.

    It stops the loop as a signal would. After each step of the trainer, each floor
    makes one on the same batch, in turns the first or the last of them first.
    """

    step = 0
    overflows = 0

    def __init__(
        self,
        backend: Backend,
        effort: Effort,
        floors: Callable[[], Mapping[str, BareStep]] | None = None,
        tools: Tools | None = None,
    ):
        self.backend = backend
        self.effort = effort
        self.tools = tools or Tools()
        self.make_floors = floors if floors and self.tools.floors else dict
        self.stop: TrainingStopped | None = None
        self.measured = Measured()
        self.floors: Mapping[str, BareStep] | None = None
        self.compiled = 0
        self.steps = 0
        self.tools.memory.restart()
        self.begin()

    def begin(self) -> None:
        """A step of the trainer begins: read all clocks, the finest last."""
        self.joules = self.tools.energy()
        self.began_second = self.tools.second_clock()
        self.began = self.tools.clock()

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        float(update.loss)  # waits for the device
        seconds = self.tools.clock() - self.began
        elapsed = self.tools.second_clock() - self.began_second
        joules = self.tools.energy()
        now = self.backend.compilations or 0
        is_warm, self.compiled = now == self.compiled and self.steps > 0, now
        self.steps += 1
        if self.floors is None:
            self.measured.warm_up.append(seconds)
            if is_warm:
                self.measured.peak_host_bytes = self.tools.memory.bytes()
                self.floors = self.make_floors()
                self.try_floors(batch)  # each compiles at its first step
        else:
            beside, floors_are_warm = self.try_floors(batch)
            if is_warm and floors_are_warm:
                self.keep(batch, seconds, elapsed, joules, beside)
            else:
                self.measured.warm_up.append(seconds)
        self.begin()

    def try_floors(self, batch: GlobalBatch) -> tuple[dict[str, float], bool]:
        """The seconds of each floor's step; and whether none of them compiled."""
        assert self.floors is not None
        names = list(self.floors)
        if len(self.measured.seconds) % 2:
            names.reverse()
        beside, are_warm = {}, True
        for name in names:
            floor = self.floors[name]
            compiled = floor.compilations
            began = self.tools.clock()
            float(floor(batch))  # waits for the device
            beside[name] = self.tools.clock() - began
            are_warm = are_warm and floor.compilations == compiled
        return beside, are_warm

    def keep(
        self,
        batch: GlobalBatch,
        seconds: float,
        elapsed: float,
        joules: float | None,
        beside: Mapping[str, float],
    ) -> None:
        found = self.measured
        found.seconds.append(seconds)
        found.joules_before.append(self.joules)
        found.joules_after.append(joules)
        found.lengths.append(lengths_of(batch))
        found.rows_seen += rows_in(batch)
        found.elapsed += elapsed
        for name, value in beside.items():
            found.floors.setdefault(name, []).append(value)
        if self.effort.is_done(len(found.seconds), found.spent):
            self.stop = TrainingStopped("All is measured.", 0)

    def log(self) -> None:
        """Nothing: what is kept is in `measured`."""

    def evaluate(self) -> None:
        """Nothing: evaluation has a benchmark of its own."""

    def save(self) -> None:
        """Nothing: a loop that is stopped saves, and this one has nothing to lose."""


def measure_calls(
    call: Callable[[], int],
    lengths: Lengths,
    effort: Effort,
    *,
    compilations: Callable[[], int | None] = lambda: None,
    floors: Callable[[], Mapping[str, Callable[[], object]]] = dict,
    warms_up: bool = True,
    tools: Tools | None = None,
) -> Measured:
    """Rounds of a call that waits for what it does, each beside a call of the floors.

    `call` answers how many rows it worked through, whose lengths are `lengths`. With
    `warms_up` the first call is left out: else each of them begins anew.
    """
    tools = tools or Tools()
    floors = floors if tools.floors else dict
    found = Measured()
    compiled, others = compilations() or 0, None if warms_up else floors()
    tools.memory.restart()
    while not effort.is_done(len(found.seconds), found.spent):
        joules, second = tools.energy(), tools.second_clock()
        began = tools.clock()
        rows = call()
        seconds = tools.clock() - began
        elapsed, joules_after = tools.second_clock() - second, tools.energy()
        is_warm, compiled = (compilations() or 0) == compiled, compilations() or 0
        if not is_warm or (warms_up and not found.warm_up):
            found.warm_up.append(seconds)
            continue
        if not found.seconds:
            found.peak_host_bytes = tools.memory.bytes()
        if others is None:
            others = floors()
            for other in others.values():
                other()  # what is done once is done here
        for name, other in others.items():
            began = tools.clock()
            other()
            found.floors.setdefault(name, []).append(tools.clock() - began)
        found.seconds.append(seconds)
        found.joules_before.append(joules)
        found.joules_after.append(joules_after)
        found.lengths.append(lengths)
        found.rows_seen += rows
        found.elapsed += elapsed
    return found


def lengths_of(batch: GlobalBatch) -> Lengths:
    """True lengths (source, target) of the rows of an update."""
    found: list[tuple[int, int]] = []
    for part in batch.micro_batches:
        sources = part.arrays.attention_mask.sum(axis=1)
        targets = (part.arrays.labels >= 0).sum(axis=1)
        pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))
        found += pairs[: part.rows]
    return tuple(found)


def rows_in(batch: GlobalBatch) -> int:
    """Rows with any token at all, by their arrays alone."""
    masks = [part.arrays.attention_mask for part in batch.micro_batches]
    return sum(int(np.any(mask, axis=1).sum()) for mask in masks)
