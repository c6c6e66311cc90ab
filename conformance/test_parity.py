"""Laws between two trainers: every one against transformers' Seq2SeqTrainer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.close import assert_same_steps
from conformance.profiles import Profile
from conformance.runs import Finished, MakeRuns, Runs
from fixtures.float64_t5 import float64_t5

WITNESS = "pytorch"
WEIGHTS = "model.safetensors"
# Everything that could differ between two optimizers, schedules or ways to average
FLAGS: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "warmup_steps": 10,
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.1,
    "max_grad_norm": 2.0,
    "learning_rate": 2e-3,
    "label_smoothing_factor": 0.1,
    "max_train_samples": 50,
}
LONG: dict[str, Any] = {**FLAGS, "max_steps": 100, "dtype": "float64"}
SHORT: dict[str, Any] = {**FLAGS, "max_steps": 20}


@pytest.fixture
def witness(run: Runs, runs_of: MakeRuns) -> Runs:
    """Runs of the trainer that the others are held against."""
    if run.trainer.name == WITNESS:
        pytest.skip(f"not run: {WITNESS} is the witness itself")
    return runs_of(WITNESS)


@pytest.fixture
def float64(profile: Profile) -> Iterator[None]:
    """Double precision all through, also where transformers' T5 casts to float32."""
    if not profile.flags.get("use_cpu") or profile.flags.get("bf16"):
        pytest.skip("not run: float64 is compared on a CPU profile without bf16")
    pytest.importorskip("torch", reason="not run: torch is not installed")
    with float64_t5():
        yield


def largest_difference(made: Finished, expected: Finished) -> tuple[float, str]:
    """Between any two weights of the same name, and that name."""
    ours = load_file(made.folder / WEIGHTS)
    theirs = load_file(expected.folder / WEIGHTS)
    assert ours.keys() == theirs.keys(), (
        f"{WEIGHTS} holds other names: {sorted(ours.keys() ^ theirs.keys())}"
    )
    return max(
        (float(np.abs(ours[name] - theirs[name]).max()), name) for name in theirs
    )


@pytest.mark.usefixtures("float64")
def test_float64_steps_agree(run: Runs, witness: Runs) -> None:
    """In float64 a hundred steps agree: loss within 1e-9, gradient norm within 1e-8."""
    made, expected = run(**LONG), witness(**LONG)
    clipped = [step.grad_norm > LONG["max_grad_norm"] for step in expected.steps]
    assert any(clipped), "no step is clipped: this proves nothing about clipping"
    assert not all(clipped), "every step is clipped: the norm's scale goes unseen"
    tokens = {step.target_tokens for step in expected.steps}
    assert len(tokens) > 10, "targets are hardly ragged"
    assert_same_steps(made.steps, expected.steps, loss=1e-9, grad_norm=1e-8)


@pytest.mark.usefixtures("float64")
def test_float64_parameters_agree(run: Runs, witness: Runs) -> None:
    """In float64, after a hundred steps no weight differs by more than 1e-8."""
    difference, name = largest_difference(run(**LONG), witness(**LONG))
    assert difference <= 1e-8, (
        f"{name} differs by {difference:.1e}, allowed 1e-08; if the steps agree, look "
        "at the last update and at which parameters decay"
    )


def test_float32_steps_agree(run: Runs, profile: Profile, witness: Runs) -> None:
    """In float32 twenty steps agree within 1e-5 in loss and 1e-4 in gradient norm."""
    if profile.name != "cpu":
        pytest.skip("not run: float32 is compared on the cpu profile")
    made, expected = run(**SHORT), witness(**SHORT)
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
