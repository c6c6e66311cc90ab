"""The one training loop, framework-free.

What is one update, and what if it stops here? A batch is a function of the step, and so
is everything random in it: there is nothing to rewind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from reference_trainers.batches import GlobalBatch, Rows, global_batch
from reference_trainers.errors import TrainingStopped
from reference_trainers.schedule import Plan
from reference_trainers.trainer import Backend, SteppingBackend, Update


class Progress(Protocol):
    """Where a run stands, and what it does beside training."""

    step: int
    """The first step to take: 0, or where the checkpoint left off."""
    checkpoint: Path | None
    """The checkpoint that a run goes on from; its state is restored already."""

    @property
    def stop(self) -> TrainingStopped | None:
        """Set once a signal asked the run to stop."""

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        """Remembers an update without waiting for the device."""

    def log(self) -> None: ...

    def evaluate(self, backend: Backend) -> None: ...

    def save(self, backend: Backend) -> None: ...


def fit(backend: SteppingBackend, rows: Rows, plan: Plan, run: Progress) -> None:
    """Trains to ``plan.total_steps``: one global batch, one update, then what is due.

    Raises `TrainingStopped` after a finished and saved step when a signal asked for it.
    """
    for step in range(run.step, plan.total_steps):
        batch = global_batch(rows, plan, step)
        learning_rate = plan.learning_rate(step)
        update = backend.train_step(batch, learning_rate, step)
        after_update(backend, plan, run, batch, update, learning_rate)


def after_update(
    backend: Backend,
    plan: Plan,
    run: Progress,
    batch: GlobalBatch,
    update: Update,
    learning_rate: float,
) -> None:
    """What is due after an update, whoever made it."""
    run.record(batch, update, learning_rate)
    if plan.logs_after(batch.step):
        run.log()
    if plan.evaluates_after(batch.step):
        run.evaluate(backend)
    if plan.saves_after(batch.step) or run.stop:
        run.save(backend)
    if run.stop:
        raise run.stop
