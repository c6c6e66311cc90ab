"""Laws of one update and of the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import ALL, EXACT, FLOAT
from conformance.runs import Runs
from conformance.tolerances import RECUT
from reference_trainers import learning_rate, rows_at, total_steps

CUTS = ({"size": 2, "accumulation": 4}, {"size": 4, "accumulation": 2})


@law("arithmetic.accumulation", profiles=ALL)
@pytest.mark.parametrize("smoothing", [0.0, 0.1], ids=["plain", "smoothed"])
@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: "x".join(map(str, cut.values())))
def test_accumulation_is_one_big_batch(
    run: Runs, cut: dict[str, int], smoothing: float
) -> None:
    """N accumulated micro-batches make the same update as one batch of their rows."""
    flags: dict[str, Any] = {"max_steps": 4, "label_smoothing_factor": smoothing}
    whole = run(per_device_train_batch_size=8, **flags)
    parts = run(
        per_device_train_batch_size=cut["size"],
        gradient_accumulation_steps=cut["accumulation"],
        **flags,
    )
    assert_same_steps(parts.steps, whole.steps, RECUT, run.profile.precision)


@law("order.seed-and-epoch", profiles=ALL)
def test_order_depends_on_seed_and_epoch_alone(run: Runs) -> None:
    """An epoch is a permutation by (seed, epoch) alone, cut into global batches."""
    made = run(num_train_epochs=2.0, max_steps=-1, max_train_samples=10, seed=7)
    expected = [
        rows_at(7, epoch, 10, np.arange(first, min(first + 4, 10))).tolist()
        for epoch in range(2)
        for first in range(0, 10, 4)
    ]
    assert made.row_ids == expected


@law("order.last-batch", profiles=ALL)
def test_last_partial_batch_is_kept(run: Runs) -> None:
    """Every row is trained on once an epoch, those of a short last batch too."""
    made = run(num_train_epochs=1.0, max_steps=-1, max_train_samples=10)
    assert sorted(row for step in made.row_ids for row in step) == list(range(10))
    assert [len(step) for step in made.row_ids] == [4, 4, 2]


@law("order.short-last-group", profiles=ALL)
def test_short_last_group_is_an_update(run: Runs) -> None:
    """Micro-batches left over at the end of an epoch make an update of their own."""
    made = run(
        num_train_epochs=1.0,
        max_steps=-1,
        max_train_samples=7,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
    )
    assert [len(step) for step in made.row_ids] == [6, 1]


@law("arithmetic.schedule", profiles=ALL)
@pytest.mark.parametrize("epochs", [1.0, 2.5])
def test_steps_and_learning_rates_follow_the_schedule(run: Runs, epochs: float) -> None:
    """Fractional epochs round up to steps; each step has the schedule's rate."""
    made = run(
        num_train_epochs=epochs,
        max_steps=-1,
        max_train_samples=10,
        lr_scheduler_type="cosine",
        warmup_steps=2,
    )
    steps = total_steps(10, 4, epochs, -1)
    expected = [learning_rate(step, 1e-3, "cosine", 2, steps) for step in range(steps)]
    assert [step.learning_rate for step in made.steps] == pytest.approx(expected)


@law("order.few-rows", profiles=ALL)
def test_fewer_rows_than_a_batch_are_one_step_an_epoch(run: Runs) -> None:
    """With fewer rows than the global batch, an epoch is one step of all rows."""
    made = run(num_train_epochs=2.0, max_steps=-1, max_train_samples=3)
    assert [sorted(step) for step in made.row_ids] == [[0, 1, 2], [0, 1, 2]]


@law("arithmetic.clipping", profiles=FLOAT)
def test_clipping_leaves_the_reported_norm(run: Runs) -> None:
    """The norm is reported before clipping, and clipping changes the next step."""
    # The same rows at every step, and an epsilon so large that Adam's step is as long
    # as the gradient: what is clipped learns less
    flags: dict[str, Any] = {
        "max_train_samples": 4,
        "learning_rate": 1e-2,
        "adam_epsilon": 1.0,
    }
    free = run(max_grad_norm=0.0, max_steps=3, **flags)
    held = run(max_grad_norm=0.01, max_steps=3, **flags)
    assert_same_steps(held.steps[:1], free.steps[:1], RECUT, run.profile.precision)
    assert free.losses[2] < held.losses[2] < held.losses[0]


@law("arithmetic.dropout-repeats", profiles=EXACT)
def test_dropout_repeats_bit_for_bit(run: Runs) -> None:
    """With dropout on, the same spec repeats its numbers, and another seed differs."""
    model = str(run.inputs.dropout_model)
    first = run(model_name_or_path=model, max_steps=4)
    again = run(model_name_or_path=model, max_steps=4, again=1)
    other = run(model_name_or_path=model, max_steps=4, seed=43)
    assert first.losses == again.losses
    assert first.losses != other.losses
    without = run(max_steps=4)
    assert first.losses[0] != without.losses[0], "dropout changes nothing"


@law("arithmetic.learns", profiles=ALL)
def test_training_learns(run: Runs) -> None:
    """The loss falls by a third within forty steps on a handful of rows."""
    made = run(max_train_samples=8, max_steps=40, learning_rate=1e-2)
    assert made.losses[-1] < made.losses[0] * 2 / 3
