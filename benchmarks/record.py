"""What a benchmark leaves in pytest-benchmark's record, beside its times."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import (
    Ratio,
    per_second,
    ratio_of,
    require_agreement,
    utilization,
)
from benchmarks.measure import Lengths, Measured
from benchmarks.shapes import Shape

SHARED = "shared"  # instead of a trainer: code that is the same for all of them


@dataclass(frozen=True)
class Setting:
    """What was measured, in which circumstances."""

    what: str
    """step, training, evaluation, generation-greedy, ... (docs/benchmarks.md)"""
    trainer: str
    profile: str
    shape: Shape
    lengths: str
    """full or ragged"""
    precision: str
    devices: int = 1

    @property
    def batch(self) -> int:
        """Rows of an update, on all devices together."""
        return self.shape.batch * self.devices

    @property
    def hash(self) -> str:
        """The same where two figures may be put side by side; hexadecimal.

        Trainers, machines and numbers of devices are what is compared.
        """
        same = {
            "what": self.what,
            "shape": self.shape.settings,
            "lengths": self.lengths,
            "precision": self.precision,
        }
        text = json.dumps(same, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def record_of(
    setting: Setting,
    measured: Measured,
    work: Callable[[Lengths], int] | None,
    peak: float | None,
    device_bytes: int | None = None,
    new_tokens: int | None = None,
    floors: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Every figure of a benchmark, by its name in `extra_info`; None: not told.

    `work` gives the model FLOPs of a round, None: it computes no model. `peak` is in
    FLOP/s. `new_tokens` are those of a row that is generated: else all its tokens
    count. `floors` are further ones, of other seconds than those of the rounds.
    Raises ValueError where the speed is not what was counted by another clock.
    """
    seconds, rounds = measured.seconds, len(measured.seconds)
    samples = [len(lengths) for lengths in measured.lengths]
    tokens = [
        sum(new_tokens or sum(length) for length in lengths)
        for lengths in measured.lengths
    ]
    samples_per_second = per_second(samples, seconds)
    require_agreement(samples_per_second, measured.rows_seen, measured.elapsed)
    flops = [work(lengths) for lengths in measured.lengths] if work else None
    flops_per_second = per_second(flops, seconds) if flops else None
    joules = measured.joules
    return {
        "trainer": setting.trainer,
        "profile": setting.profile,
        "what": setting.what,
        "shape": setting.shape.title,
        "lengths": setting.lengths,
        "precision": setting.precision,
        "devices": setting.devices,
        "batch": setting.batch,
        "spec_hash": setting.hash,
        "samples": statistics.fmean(samples),
        "tokens": statistics.fmean(tokens),
        "flops": statistics.fmean(flops) if flops else None,
        "samples_per_second": samples_per_second,
        "tokens_per_second": per_second(tokens, seconds),
        "flops_per_second": flops_per_second,
        "mfu": utilization(flops_per_second, peak) if flops_per_second else None,
        "peak_host_bytes": measured.peak_host_bytes,
        "peak_device_bytes": device_bytes,
        "joules": None if joules is None else joules / rounds,
        "warm_up_seconds": measured.warm_up,
        "floors": floors_of(seconds, measured.floors) | dict(floors or {}),
    }


def floors_of(
    seconds: list[float], floors: Mapping[str, list[float]]
) -> dict[str, dict[str, Any]]:
    """Each floor's seconds beside the rounds, and the trainer's speed over its."""
    return {
        name: {"seconds": beside, **told(ratio_of(seconds, beside))}
        for name, beside in floors.items()
    }


def told(ratio: Ratio) -> dict[str, Any]:
    return {"ratio": ratio.value, "interval": [ratio.low, ratio.high]}


class Played:
    """The clock that pytest-benchmark reads: it plays back times that were measured."""

    def __init__(self) -> None:
        self.time = 0.0
        self.rounds: list[float] = []

    def now(self) -> float:
        return self.time

    def advance(self) -> None:
        """Goes on by the next of the rounds."""
        self.time += self.rounds.pop(0)

    def into(
        self, benchmark: Any, measured: Measured, record: Mapping[str, Any]
    ) -> None:
        """Gives times and figures to pytest-benchmark's fixture."""
        self.time, self.rounds = 0.0, [*measured.seconds]
        benchmark.extra_info.update(record)
        benchmark.pedantic(self.advance, rounds=len(self.rounds))
