"""Laws against the recorded trace: they hold where PyTorch is not installed, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.profiles import Profile
from conformance.runs import Finished, MakeRuns, Runs
from conformance.trace import COMMAND, TRACED, Trace, traced
from fixtures.float64_t5 import float64_t5
from reference_trainers.registry import ORACLE

WEIGHTS = "model.safetensors"
NAMES = ("loss", "grad_norm", "learning_rate", "target_tokens")
ALLOWED = {"loss": 1e-9, "grad_norm": 1e-8, "learning_rate": 1e-12}


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.read()


@pytest.fixture
def made(run: Runs, profile: Profile) -> Iterator[Finished]:
    """The traced run by the trainer under test."""
    if profile.name != "cpu":
        pytest.skip("not run: the trace is of the cpu profile")
    with float64_t5() if find_spec("torch") else nullcontext():
        yield run(**traced(run.inputs))


def test_the_rows_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """The tokens of the rows are those that the trace was recorded with."""
    assert made.report.splits["train"].digest == trace.data_digest, (
        f"the fixtures' tokenizer makes other tokens here: record anew with {COMMAND}"
    )


def test_steps_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """In float64 every step is the oracle's: loss to 1e-9, gradient norm to 1e-8."""
    clipped = [norm > TRACED["max_grad_norm"] for _, norm, *_ in trace.steps]
    assert any(clipped), "no step is clipped: this proves nothing about clipping"
    assert not all(clipped), "every step is clipped: the norm's scale goes unseen"
    assert len({tokens for *_, tokens in trace.steps}) > 10, "targets are hardly ragged"
    assert len(made.steps) == len(trace.steps)
    for step, values in zip(made.steps, trace.steps, strict=True):
        for name, expected in zip(NAMES, values, strict=True):
            found = getattr(step, name)
            assert found == pytest.approx(expected, rel=ALLOWED.get(name, 0)), (
                f"step {step.step}: {name} {found!r}, expected {expected!r}"
            )


def test_final_weights_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """After a hundred steps each weight has the oracle's norm, first and last value."""
    weights = Trace.of(made).weights
    assert weights.keys() == trace.weights.keys()
    for name, expected in trace.weights.items():
        assert weights[name] == pytest.approx(expected, abs=1e-8), name


def test_weights_are_the_witness_s(made: Finished, runs_of: MakeRuns) -> None:
    """After a hundred float64 steps no weight is more than 1e-8 from the oracle's."""
    oracle = runs_of(ORACLE)
    ours = load_file(made.folder / WEIGHTS)
    theirs = load_file(oracle(**traced(oracle.inputs)).folder / WEIGHTS)
    assert ours.keys() == theirs.keys()
    off = {name: float(np.abs(ours[name] - theirs[name]).max()) for name in theirs}
    worst = max(off, key=lambda name: off[name])
    assert off[worst] <= 1e-8, (
        f"{worst} differs by {off[worst]:.1e}, allowed 1e-08; if the steps agree, look "
        "at the last update and at which parameters decay"
    )


def test_predictions_are_those_of_the_trace(made: Finished, trace: Trace) -> None:
    """In float64 beam search finds the oracle's sequences, all of them."""
    assert len(set(trace.predictions)) > 1, "the trace predicts one text for all"
    assert Trace.of(made).predictions == trace.predictions
