"""Laws between two trainers: every one against transformers' Seq2SeqTrainer."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import HARDWARE
from conformance.runs import MakeRuns, Runs
from conformance.tolerances import SHORT, allowed
from conformance.traces.recipes import RECIPE
from reference_trainers import ORACLE


@pytest.fixture
def oracle(run: Runs, runs_of: MakeRuns) -> Runs:
    """Runs of the trainer that the others are held against."""
    if run.subject.is_oracle:
        pytest.skip(f"not run: {ORACLE} is the oracle itself")
    return runs_of(ORACLE)


def assert_same_training(run: Runs, oracle: Runs, flags: dict[str, Any]) -> None:
    made, expected = run(**flags), oracle(**flags)
    assert_same_steps(made.steps, expected.steps, SHORT, run.profile.precision)


@law("parity.steps", profiles=HARDWARE, always=("cpu-x2",))
def test_steps_agree(run: Runs, oracle: Runs) -> None:
    """Twenty steps agree with the oracle's, each within the tolerance of its type."""
    assert_same_training(run, oracle, {**RECIPE, "max_steps": 20})


@law("parity.other-flags", profiles=HARDWARE)
def test_the_other_flags_agree(run: Runs, oracle: Runs) -> None:
    """The flags that the recipe leaves alone mean the same, too, in a new model."""
    folder = str(run.inputs.model)
    flags: dict[str, Any] = {
        "model_name_or_path": None,
        "model_type": "t5",
        "config_name": folder,
        "tokenizer_name": folder,
        "adam_beta1": 0.8,
        "adam_beta2": 0.9,
        "adam_epsilon": 1e-3,
        "lr_scheduler_type": "polynomial",
        "warmup_ratio": 0.2,
        "ignore_pad_token_for_loss": False,
        "pad_to_max_length": True,
        "gradient_checkpointing": True,
        "learning_rate": 5e-3,
        "max_steps": 10,
    }
    assert_same_training(run, oracle, flags)


@law("parity.evaluation", profiles=HARDWARE)
def test_evaluation_agrees(run: Runs, oracle: Runs) -> None:
    """The same weights have the same evaluation loss, and generate the same texts."""
    flags: dict[str, Any] = {
        "do_train": False,
        "do_eval": True,
        "do_predict": True,
        "predict_with_generate": True,
        "max_eval_samples": 12,
        "label_smoothing_factor": 0.1,
        "num_beams": 2,
    }
    made, expected = run(**flags), oracle(**flags)
    tolerance = allowed(SHORT, run.profile.precision)["eval_loss"]
    for name in ("eval_loss", "predict_loss"):
        found, wanted = made.report.metrics[name], expected.report.metrics[name]
        assert tolerance.allows(found, wanted), (
            f"{name} {found}, expected {wanted} (allowed {tolerance}): "
            "look at which labels count, and at label smoothing"
        )
    if run.profile.precision != "half":  # where two tokens are as likely as another
        name = "predictions.jsonl"
        ours = (made.folder / name).read_text(encoding="utf-8").splitlines()
        theirs = (expected.folder / name).read_text(encoding="utf-8").splitlines()
        assert ours == theirs, "losses agree: look at the search"


@law("parity.dropout", profiles=HARDWARE)
def test_dropout_agrees(run: Runs, oracle: Runs) -> None:
    """With dropout the steps agree too: the same elements are dropped."""
    flags: dict[str, Any] = {
        **RECIPE,
        "model_name_or_path": str(run.inputs.dropout_model),
        "max_steps": 20,
    }
    assert_same_training(run, oracle, flags)
