"""Laws of which rows make up which update."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.laws.properties import SHAPES, for_all
from conformance.profiles import ALL
from conformance.runs import Runs
from conformance.tolerances import RECUT
from reference_trainers import rows_at


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


@law("order.few-rows", profiles=ALL)
def test_fewer_rows_than_a_batch_are_one_step_an_epoch(run: Runs) -> None:
    """With fewer rows than the global batch, an epoch is one step of all rows."""
    made = run(num_train_epochs=2.0, max_steps=-1, max_train_samples=3)
    assert [sorted(step) for step in made.row_ids] == [[0, 1, 2], [0, 1, 2]]


@law("order.any-epochs", profiles=ALL)
@for_all(**SHAPES, epochs=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_every_epoch_is_every_row_once(
    run: Runs, rows: int, size: int, accumulation: int, epochs: int, seed: int
) -> None:
    """Of any rows, batch and accumulation, each epoch is every row once."""
    made = run(
        num_train_epochs=float(epochs),
        max_steps=-1,
        max_train_samples=rows,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        seed=seed,
    )
    whole = size * accumulation
    lengths = [min(whole, rows - first) for first in range(0, rows, whole)]
    assert [len(step) for step in made.row_ids] == lengths * epochs
    taken = [row for step in made.row_ids for row in step]
    for first in range(0, rows * epochs, rows):
        assert sorted(taken[first : first + rows]) == list(range(rows))


@law("order.longer-run", profiles=ALL)
@for_all(**SHAPES, short=st.integers(1, 3), more=st.integers(1, 3))
def test_a_longer_run_begins_as_a_shorter_one(
    run: Runs, rows: int, size: int, accumulation: int, short: int, more: int
) -> None:
    """Under one rate, a longer run takes the steps of a shorter one, then goes on."""
    flags: dict[str, Any] = {
        "max_train_samples": rows,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "lr_scheduler_type": "constant",
    }
    first = run(max_steps=short, **flags)
    longer = run(max_steps=short + more, **flags)
    assert len(longer.steps) == short + more
    assert_same_steps(longer.steps[:short], first.steps, RECUT, run.profile.precision)
