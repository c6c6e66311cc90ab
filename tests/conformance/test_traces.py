"""The recorded traces: what stands in them, and that they exercise what they should."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.__main__ import main
from conformance.traces.recipes import RECIPES, spec_of
from conformance.traces.trace import FOLDER, Trace, place


@pytest.fixture(params=RECIPES)
def trace(request) -> Trace:
    return Trace.read(request.param)


def test_each_recipe_has_its_trace_and_each_trace_its_recipe():
    assert {path.stem for path in FOLDER.glob("*.json")} == RECIPES.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_trace_is_of_the_recipe_of_today(name):
    trace = Trace.read(name)
    assert trace.spec == spec_of(name)
    assert f"fixtures/traces/{name}.json" in trace.command
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert trace.as_json() == text
    assert len(text) < 40_000


def test_targets_are_ragged(trace):
    assert len({step.target_tokens for step in trace.steps}) > 8


@pytest.mark.parametrize("name", ["recipe", "gated"])
def test_some_steps_are_clipped_and_not_all(name):
    trace = Trace.read(name)
    clipped = [step.grad_norm > trace.spec["max_grad_norm"] for step in trace.steps]
    assert any(clipped)
    assert not all(clipped)


@pytest.mark.parametrize("name", ["epochs", "gated"])
def test_the_last_batch_of_an_epoch_is_short(name):
    assert len({len(step.row_ids) for step in Trace.read(name).steps}) == 2


def test_early_weights_are_those_after_one_update(trace):
    if trace.early is not None:
        rates = [step.learning_rate for step in trace.steps[: trace.early]]
        assert np.count_nonzero(rates) == 1


def test_predictions_differ():
    assert len({*Trace.read("recipe").predictions}) > 1


def test_an_envelope_never_shrinks(trace):
    envelope = trace.float32_envelope
    for allowed in (envelope.loss, envelope.grad_norm):
        assert len(allowed) == len(trace.steps)
        assert allowed == sorted(allowed)
        assert 0 < allowed[0] <= allowed[-1] < 1e-4
    assert envelope.at(len(trace.steps)) == {}


def test_parameters_stand_in_the_order_of_the_model():
    names = [
        "shared.weight",
        "encoder.block.2.layer.0.SelfAttention.q.weight",
        "encoder.block.10.layer.0.SelfAttention.q.weight",
        "encoder.final_layer_norm.weight",
        "decoder.block.0.layer.0.SelfAttention.q.weight",
        "lm_head.weight",
    ]
    assert sorted({*names}, key=place) == names


def test_another_name_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["record", str(tmp_path / "other.json")])
    assert ended.value.code == 2
    assert "there are: recipe.json, epochs.json, gated.json" in capsys.readouterr().err
