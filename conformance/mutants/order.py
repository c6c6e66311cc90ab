"""Mutants that train on other rows, or at other rates, than the contract says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.mutants.planted import planted

ROWS_AT = "reference_trainers.data.batches.rows_at"
Rows = Callable[[int, int, int, np.ndarray], np.ndarray]


@planted(ROWS_AT, caught_by=("order.seed-and-epoch",))
def every_epoch_alike(sound: Rows) -> Rows:
    """Takes every epoch in the order of the first."""
    return lambda seed, epoch, rows, positions: sound(seed, 0, rows, positions)


@planted(
    ROWS_AT,
    caught_by=(
        "order.few-rows",
        "order.last-batch",
        "order.short-last-group",
        "order.any-epochs",
    ),
)
def fills_up(sound: Rows) -> Rows:
    """Fills a short batch up with its own rows, as DistributedSampler does."""

    def rows_at(seed: int, epoch: int, rows: int, positions: np.ndarray) -> np.ndarray:
        found = sound(seed, epoch, rows, positions)
        return np.resize(found, -(-len(found) // 4) * 4)

    return rows_at


@planted(
    "reference_trainers.recipe.plan.steps_per_epoch",
    caught_by=("order.last-batch", "order.short-last-group"),
)
def drops_the_last_batch(sound: Callable[..., int]) -> Callable[..., int]:
    """An epoch has whole batches alone, as Keras had it in transformers."""
    return lambda rows, batch: max(1, rows // batch)


@planted(
    "reference_trainers.recipe.plan.learning_rate", caught_by=("arithmetic.schedule",)
)
def begins_at_step_one(sound: Callable[..., float]) -> Callable[..., float]:
    """Has the rate of each step one step early."""
    return lambda step, *schedule: sound(step + 1, *schedule)


@planted("reference_trainers.loop.global_batch", caught_by=("order.longer-run",))
def spreads_its_rows(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Begins further along in a longer run."""

    def global_batch(rows: Any, plan: Any, step: int) -> Any:
        return sound(rows, plan, step + plan.total_steps - 1)

    return global_batch


@planted("reference_trainers.loop.global_batch", caught_by=("resume.time",))
def walks_to_its_place(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Goes through all earlier steps to find the rows of one."""

    def global_batch(rows: Any, plan: Any, step: int) -> Any:
        for earlier in range(step):
            np.random.default_rng(earlier).permutation(plan.rows)
        return sound(rows, plan, step)

    return global_batch
