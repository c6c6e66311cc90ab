"""Laws between two trainers: every one against transformers' Seq2SeqTrainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.differences import assert_same_steps
from conformance.profiles import Profile
from conformance.runs import MakeRuns, Runs
from conformance.trace import RECIPE

WITNESS = "pytorch"
SHORT: dict[str, Any] = {**RECIPE, "max_steps": 20}


@pytest.fixture
def witness(run: Runs, runs_of: MakeRuns) -> Runs:
    """Runs of the trainer that the others are held against."""
    if run.trainer.name == WITNESS:
        pytest.skip(f"not run: {WITNESS} is the witness itself")
    return runs_of(WITNESS)


def test_float32_steps_agree(run: Runs, profile: Profile, witness: Runs) -> None:
    """In float32 twenty steps agree within 1e-5 in loss and 1e-4 in gradient norm."""
    if profile.name != "cpu":
        pytest.skip("not run: float32 is compared on the cpu profile")
    made, expected = run(**SHORT), witness(**SHORT)
    assert_same_steps(made.steps, expected.steps, loss=1e-5, grad_norm=1e-4)


def test_the_other_flags_agree(run: Runs, profile: Profile, witness: Runs) -> None:
    """The flags that the recipe leaves alone mean the same, too, in a new model."""
    if profile.name != "cpu":
        pytest.skip("not run: float32 is compared on the cpu profile")
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
    made, expected = run(**flags), witness(**flags)
    assert_same_steps(made.steps, expected.steps, loss=1e-5, grad_norm=1e-4)


def test_evaluation_agrees(run: Runs, profile: Profile, witness: Runs) -> None:
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
    made, expected = run(**flags), witness(**flags)
    for name in ("eval_loss", "predict_loss"):
        assert made.report.metrics[name] == pytest.approx(
            expected.report.metrics[name], rel=max(1e-6, profile.tolerance)
        ), f"{name}: look at which labels count, and at label smoothing"
    if "bf16" not in profile.flags:
        name = "predictions.jsonl"
        ours = (made.folder / name).read_text(encoding="utf-8").splitlines()
        theirs = (expected.folder / name).read_text(encoding="utf-8").splitlines()
        assert ours == theirs, "losses agree: look at the search"


SEEDS = range(5)


def end_of_training(run: Runs, seed: int) -> float:
    """Mean loss of the last steps of a run with dropout."""
    made = run(
        model_name_or_path=str(run.inputs.dropout_model),
        seed=seed,
        max_steps=30,
        learning_rate=5e-3,
        max_train_samples=50,
    )
    return float(np.mean(made.losses[-5:]))


def test_dropout_trains_as_the_witness_does(run: Runs, witness: Runs) -> None:
    """With dropout, the mean over five seeds lies within the witness's five seeds."""
    expected = [end_of_training(witness, seed) for seed in SEEDS]
    mean = float(np.mean([end_of_training(run, seed) for seed in SEEDS]))
    assert min(expected) <= mean <= max(expected), (
        f"mean final loss {mean:.4f}, the witness's {sorted(expected)}: look at the "
        "rate of dropout, at where it is applied, and at whether kept values are scaled"
    )
