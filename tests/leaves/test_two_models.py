"""One process trains one model on several devices, and then another."""

import pytest

from conformance.profiles import PROFILES
from conformance.runs import Runs, build_inputs
from conformance.subject import Subject
from conformance.workers import close

PROFILE = PROFILES["cpu-x2"]


@pytest.mark.parametrize("framework", ["flax", "tensorflow"])
def test_a_second_model_of_another_size_trains(framework, tmp_path):
    pytest.importorskip(framework, reason=f"not run: {framework} is not installed")
    inputs = build_inputs(tmp_path / "inputs")
    subject = Subject.of(framework)
    run = Runs(subject, PROFILE, inputs, tmp_path / "runs")
    try:
        first = run(max_steps=1)
        deep = run(max_steps=1, model_name_or_path=str(inputs.deep_model))
        again = run(max_steps=1, again=1)
    finally:
        close(subject, PROFILE)
    assert first.losses == again.losses != deep.losses
