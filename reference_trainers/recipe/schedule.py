"""How many steps a run has, and the learning rate of each: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from reference_trainers.spec import TrainingSpec


def steps_per_epoch(rows: int, global_batch: int) -> int:
    """The last partial batch is a step of its own."""
    return math.ceil(rows / global_batch)


def total_steps(rows: int, global_batch: int, epochs: float, max_steps: int) -> int:
    """`max_steps` wins over `epochs`, which may be fractional."""
    if max_steps > 0:
        return max_steps
    return math.ceil(epochs * steps_per_epoch(rows, global_batch))


def warmup_of(spec: TrainingSpec, steps: int) -> int:
    """Steps of warm-up, by `TrainingArguments.get_warmup_steps` of transformers."""
    if spec.warmup_steps >= 1:
        return int(spec.warmup_steps)
    return math.ceil(steps * (spec.warmup_steps or spec.warmup_ratio))


def interval_of(steps_or_share: float, steps: int) -> int:
    """A number of steps; a value below 1 is a share of all steps."""
    if steps_or_share < 1:
        return max(1, math.ceil(steps * steps_or_share))
    return int(steps_or_share)


def _ramp(step: int, warmup: int) -> float:
    return step / max(1, warmup)


def _constant(step: int, warmup: int, total: int) -> float:
    return 1.0


def _constant_with_warmup(step: int, warmup: int, total: int) -> float:
    return _ramp(step, warmup) if step < warmup else 1.0


def _linear(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return _ramp(step, warmup)
    return max(0.0, (total - step) / max(1, total - warmup))


def _cosine(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return _ramp(step, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def _cosine_with_restarts(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return _ramp(step, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    if progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * (progress % 1.0))))


def _inverse_sqrt(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return _ramp(step, warmup)
    timescale = warmup or 10_000
    return 1.0 / math.sqrt((step + timescale - warmup) / timescale)


FACTORS: dict[str, Callable[[int, int, int], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _linear,  # to the power of 1; its floor is added in `learning_rate`
    "constant": _constant,
    "constant_with_warmup": _constant_with_warmup,
    "inverse_sqrt": _inverse_sqrt,
}
POLYNOMIAL_END = 1e-7  # transformers' lr_end


def learning_rate(
    step: int, peak: float, name: str, warmup_steps: int, steps: int
) -> float:
    """The rate of the update at `step`, which counts from 0."""
    factor = FACTORS[name](step, warmup_steps, steps)
    if name == "polynomial" and step >= warmup_steps:
        return POLYNOMIAL_END + (peak - POLYNOMIAL_END) * factor
    return peak * factor
