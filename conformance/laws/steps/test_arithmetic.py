"""Laws of what one update does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.laws.properties import for_all
from conformance.profiles import ALL, EXACT, FLOAT
from conformance.runs import Runs
from conformance.tolerances import RECUT
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers import learning_rate, total_steps

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


@law("arithmetic.any-cut", profiles=ALL)
@for_all(
    size=st.just(4) | st.integers(1, 4),
    accumulation=st.just(2) | st.integers(1, 4),
    rows=st.just(11) | st.integers(4, 20),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_any_cut_of_a_batch_is_one_update(
    run: Runs, size: int, accumulation: int, rows: int, smoothing: float
) -> None:
    """M micro-batches of N rows, and N of M, make the same updates."""
    flags: dict[str, Any] = {
        "max_train_samples": rows,
        "max_steps": 3,
        "label_smoothing_factor": smoothing,
    }
    made, turned = (
        run(per_device_train_batch_size=m, gradient_accumulation_steps=n, **flags)
        for m, n in ((size, accumulation), (accumulation, size))
    )
    assert_same_steps(turned.steps, made.steps, RECUT, run.profile.precision)


@law("arithmetic.row-order", profiles=ALL)
@for_all(turned=st.permutations(range(6)), size=st.sampled_from([2, 3, 6]))
def test_rows_of_an_update_may_stand_in_any_order(
    run: Runs, turned: list[int], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows of one update may stand in any order in their file, and in its parts."""
    rows = ragged_rows(6, seed=9)
    top = tmp_path_factory.getbasetemp() / "row_order"
    flags: dict[str, Any] = {"max_steps": 3, "max_train_samples": None}
    whole = run(
        train_file=str(write_jsonl(top / "rows.jsonl", rows)),
        per_device_train_batch_size=6,
        **flags,
    )
    name = f"{''.join(map(str, turned))}.jsonl"
    made = run(
        train_file=str(write_jsonl(top / name, [rows[row] for row in turned])),
        per_device_train_batch_size=size,
        gradient_accumulation_steps=6 // size,
        **flags,
    )
    numbers = ("learning_rate", "target_tokens", "loss", "grad_norm")
    assert_same_steps(made.steps, whole.steps, RECUT, run.profile.precision, numbers)
