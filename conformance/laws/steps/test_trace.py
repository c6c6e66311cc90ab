"""Laws against the recorded trace: they hold where PyTorch is not installed, too."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import FLOAT64
from conformance.runs import Finished, MakeRuns, Runs
from conformance.tolerances import SHORT, allowed
from conformance.trace import COMMAND, MEASURED, TRACED, Trace, traced
from reference_trainers import ORACLE

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.read()


@pytest.fixture
def made(run: Runs) -> Finished:
    """The traced run by the trainer under test."""
    return run(**traced(run.inputs))


@law("trace.rows", profiles=FLOAT64)
def test_the_rows_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """The tokens of the rows are those that the trace was recorded with."""
    assert made.report.splits["train"].digest == trace.data_digest, (
        f"the fixtures' tokenizer makes other tokens here: record anew with {COMMAND}"
    )


@law("trace.steps", profiles=FLOAT64)
def test_steps_are_those_of_the_trace(run: Runs, made: Finished, trace: Trace) -> None:
    """In float64 every step is the oracle's: loss to 1e-9, gradient norm to 1e-8."""
    steps = trace.traced_steps
    clipped = [step.grad_norm > TRACED["max_grad_norm"] for step in steps]
    assert any(clipped), "no step is clipped: this proves nothing about clipping"
    assert not all(clipped), "every step is clipped: the norm's scale goes unseen"
    assert len({step.target_tokens for step in steps}) > 10, "targets are hardly ragged"
    assert_same_steps(made.steps, steps, SHORT, run.profile.precision, MEASURED)


@law("trace.sampled-weights", profiles=FLOAT64)
def test_final_weights_are_those_of_the_trace(
    run: Runs, made: Finished, trace: Trace
) -> None:
    """After a hundred steps each weight has the oracle's norm, first and last value."""
    tolerance = allowed(SHORT, run.profile.precision)["weights"]
    weights = Trace.of(made).weights
    assert weights.keys() == trace.weights.keys()
    for name, expected in trace.weights.items():
        for found, wanted in zip(weights[name], expected, strict=True):
            assert tolerance.allows(found, wanted), f"{name}: {found}, not {wanted}"


@law("trace.weights", profiles=FLOAT64)
def test_weights_are_the_oracle_s(run: Runs, made: Finished, runs_of: MakeRuns) -> None:
    """After a hundred float64 steps no weight is more than 1e-8 from the oracle's."""
    oracle = runs_of(ORACLE)
    tolerance = allowed(SHORT, run.profile.precision)["weights"]
    ours = load_file(made.folder / WEIGHTS)
    theirs = load_file(oracle(**traced(oracle.inputs)).folder / WEIGHTS)
    assert ours.keys() == theirs.keys()
    off = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in theirs}
    worst = max(off, key=lambda name: off[name])
    assert off[worst] <= tolerance.absolute, (
        f"{worst} differs by {off[worst]:.1e}, allowed {tolerance}; if the steps "
        "agree, look at the last update and at which parameters decay"
    )


@law("trace.predictions", profiles=FLOAT64)
def test_predictions_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """In float64 beam search finds the oracle's sequences, all of them."""
    assert len(set(trace.predictions)) > 1, "the trace predicts one text for all"
    assert Trace.of(made).predictions == trace.predictions
