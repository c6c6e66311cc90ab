"""Laws against recorded traces: they hold where PyTorch is not installed, too."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.differences import Difference
from conformance.law import law
from conformance.profiles import CPU, FLOAT64
from conformance.runs import Finished, MakeRuns, Runs
from conformance.tolerances import SHORT, allowed
from conformance.traces.held import (
    assert_same_as_traced,
    assert_same_rows,
    assert_same_weights,
    envelope_used,
)
from conformance.traces.recipes import RECIPES, flags_of
from conformance.traces.trace import WEIGHTS, Trace, predictions_of
from reference_trainers import ORACLE

EARLY = [name for name in RECIPES if "save_steps" in RECIPES[name]]


@pytest.fixture(params=RECIPES)
def trace(request: pytest.FixtureRequest) -> Trace:
    return Trace.read(request.param)


@pytest.fixture
def made(run: Runs, trace: Trace) -> Finished:
    """The traced run by the trainer under test."""
    return run(**flags_of(trace.spec, run.inputs))


@law("trace.rows", profiles=FLOAT64)
def test_the_rows_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """Each step has the rows of the trace, with as many tokens, and the same ones."""
    assert_same_rows(made, trace)


@law("trace.steps", profiles=FLOAT64)
def test_steps_are_those_of_the_trace(run: Runs, made: Finished, trace: Trace) -> None:
    """In float64 every step is the oracle's: loss to 1e-9, gradient norm to 1e-8."""
    tolerances = allowed(SHORT, run.profile.precision)
    assert_same_as_traced(made, trace, lambda step: tolerances)


@law("trace.float32", profiles=CPU)
def test_float32_stays_within_the_envelope(made: Finished, trace: Trace) -> None:
    """In float32 every step is as near to the trace as rounding alone allows."""
    assert_same_as_traced(made, trace, trace.float32_envelope.at)
    print(f"{trace.command.split()[-1]}: {envelope_used(made, trace):.2f} is used")


@law("trace.early-weights", profiles=FLOAT64)
@pytest.mark.parametrize("trace", EARLY, indirect=True)
def test_early_weights_are_those_of_the_trace(
    run: Runs, made: Finished, trace: Trace
) -> None:
    """After one update each weight has the oracle's norm, first and last value."""
    assert trace.early is not None
    tolerance = allowed(SHORT, run.profile.precision)["weights"]
    assert_same_weights(made, trace, trace.early, tolerance)


@law("trace.sampled-weights", profiles=FLOAT64)
def test_final_weights_are_those_of_the_trace(
    run: Runs, made: Finished, trace: Trace
) -> None:
    """After the last step each weight has the oracle's norm, first and last value."""
    tolerance = allowed(SHORT, run.profile.precision)["weights"]
    assert_same_weights(made, trace, len(trace.steps), tolerance)


@law("trace.weights", profiles=FLOAT64)
@pytest.mark.parametrize("trace", ["recipe"], indirect=True)
def test_weights_are_the_oracle_s(
    run: Runs, made: Finished, trace: Trace, runs_of: MakeRuns
) -> None:
    """After a hundred float64 steps no weight is more than 1e-8 from the oracle's."""
    oracle = runs_of(ORACLE)
    tolerance = allowed(SHORT, run.profile.precision)["weights"]
    ours = load_file(made.folder / WEIGHTS)
    theirs = load_file(oracle(**flags_of(trace.spec, oracle.inputs)).folder / WEIGHTS)
    assert ours.keys() == theirs.keys()
    for name in trace.weights[len(trace.steps)]:
        gaps = np.abs(ours[name] - theirs[name])
        worst = np.unravel_index(gaps.argmax(), gaps.shape)
        a, b = float(ours[name][worst]), float(theirs[name][worst])
        what = f"after its update, {name}[{', '.join(map(str, worst))}]"
        last = len(trace.steps) - 1
        assert gaps[worst] <= tolerance.absolute, str(
            Difference(last, "weights", a, b, tolerance, what)
        )


@law("trace.predictions", profiles=FLOAT64)
@pytest.mark.parametrize("trace", ["recipe"], indirect=True)
def test_predictions_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """In float64 beam search finds the oracle's sequences, all of them."""
    found, last = predictions_of(made), len(trace.steps) - 1
    assert found == trace.predictions, str(
        Difference(last, "predictions", found, trace.predictions)
    )
