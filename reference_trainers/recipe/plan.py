"""All that decides what each step of a run is."""

from __future__ import annotations

from dataclasses import dataclass

from reference_trainers.errors import InputError
from reference_trainers.recipe.schedule import (
    interval_of,
    learning_rate,
    steps_per_epoch,
    total_steps,
    warmup_of,
)
from reference_trainers.spec import TrainingSpec


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
    uniform: bool = False
    """All micro-batches of an update have one shape, with empty rows where rows are
    missing: for programs that are compiled for a shape."""


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
        return self._due(self.save_steps, step)

    def _due(self, interval: int | None, step: int) -> bool:
        """Also after the last step, as in transformers' DefaultFlowCallback."""
        if interval is None:
            return False
        return (step + 1) % interval == 0 or step + 1 == self.total_steps


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

    plan = Plan(
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
    if spec.load_best_model_at_end:
        require_judged_checkpoints(plan)
    return plan


def require_judged_checkpoints(plan: Plan) -> None:
    """Raises `InputError` unless every checkpoint is evaluated."""
    evaluated, saved = plan.eval_steps or 1, plan.save_steps or 1
    if saved % evaluated:
        raise InputError(
            f"--save_steps: a checkpoint every {saved} steps and an evaluation every "
            f"{evaluated}; --load_best_model_at_end needs one wherever it saves."
        )
