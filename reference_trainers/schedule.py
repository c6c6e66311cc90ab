"""When things happen in a run, and at which learning rate: pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

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


# Each takes (step, warm-up steps, total steps) and gives the factor on the learning
# rate; formulas and defaults are those of transformers/optimization.py.


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
    step: int, peak: float, kind: str, warmup_steps: int, steps: int
) -> float:
    """The rate of the update at `step`, which counts from 0."""
    factor = FACTORS[kind](step, warmup_steps, steps)
    if kind == "polynomial" and step >= warmup_steps:
        return POLYNOMIAL_END + (peak - POLYNOMIAL_END) * factor
    return peak * factor


# transformers' Trainer.get_decay_parameter_names keeps these from weight decay
_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def decays(name: str) -> bool:
    """Whether weight decay applies to the parameter of this Hugging Face name."""
    return _NO_DECAY.search(name.lower()) is None


@dataclass(frozen=True)
class Padding:
    """How rows become rectangles; the same for every batch of a run."""

    pad_token_id: int
    decoder_start_token_id: int
    multiple_of: int = 1
    """Lengths are rounded up to it; the added columns hold no token and no target."""
    source_length: int | None = None
    """Pad every input to it (`pad_to_max_length`)."""
    target_length: int | None = None
    """Pad every summary to it (`pad_to_max_length`)."""
    pads_are_targets: bool = False
    """Count the padding of a summary in the loss (`ignore_pad_token_for_loss` off)."""


@dataclass(frozen=True)
class Plan:
    """All that decides what each step of a run is; the same in every framework."""

    rows: int
    per_device_batch: int
    devices: int
    accumulation: int
    seed: int
    total_steps: int
    warmup_steps: int
    peak_learning_rate: float
    lr_scheduler_type: str
    logging_steps: int
    eval_steps: int | None
    """Steps between evaluations; None: none while training."""
    save_steps: int | None
    """Steps between checkpoints; None: none while training."""
    padding: Padding

    @property
    def micro_batch(self) -> int:
        """Rows of a micro-batch: one per-device batch on each device."""
        return self.per_device_batch * self.devices

    @property
    def global_batch(self) -> int:
        """Rows of a whole update."""
        return self.micro_batch * self.accumulation

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.rows, self.global_batch)

    def rows_of(self, step: int) -> int:
        """Rows of the global batch of `step`; the last of an epoch may be short."""
        first = step % self.steps_per_epoch * self.global_batch
        return min(self.global_batch, self.rows - first)

    def epoch_at(self, step: int) -> float:
        """Epochs that are done before `step`."""
        return step / self.steps_per_epoch

    def learning_rate(self, step: int) -> float:
        return learning_rate(
            step,
            self.peak_learning_rate,
            self.lr_scheduler_type,
            self.warmup_steps,
            self.total_steps,
        )

    def logs_after(self, step: int) -> bool:
        return (step + 1) % self.logging_steps == 0

    def evaluates_after(self, step: int) -> bool:
        return self._due(self.eval_steps, step)

    def saves_after(self, step: int) -> bool:
        """Also after the last step, as transformers does."""
        last = self.save_steps is not None and step + 1 == self.total_steps
        return last or self._due(self.save_steps, step)

    def _due(self, interval: int | None, step: int) -> bool:
        return interval is not None and (step + 1) % interval == 0


def plan_of(spec: TrainingSpec, rows: int, devices: int, padding: Padding) -> Plan:
    """The plan of a run over `rows` usable rows."""
    batch = (
        spec.per_device_train_batch_size * devices * spec.gradient_accumulation_steps
    )
    steps = total_steps(rows, batch, spec.num_train_epochs, spec.max_steps)
    epoch = steps_per_epoch(rows, batch)

    def interval(strategy: str, every: float) -> int | None:
        if strategy == "no":
            return None
        return epoch if strategy == "epoch" else interval_of(every, steps)

    return Plan(
        rows=rows,
        per_device_batch=spec.per_device_train_batch_size,
        devices=devices,
        accumulation=spec.gradient_accumulation_steps,
        seed=spec.seed,
        total_steps=steps,
        warmup_steps=warmup_of(spec, steps),
        peak_learning_rate=spec.learning_rate,
        lr_scheduler_type=spec.lr_scheduler_type,
        logging_steps=interval_of(spec.logging_steps, steps),
        eval_steps=interval(spec.eval_strategy, spec.eval_steps or spec.logging_steps),
        save_steps=interval(spec.save_strategy, spec.save_steps),
        padding=padding,
    )
