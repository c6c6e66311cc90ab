"""No flag is accepted and ignored: each changes what it should, and nothing else.

On the Accelerate trainer, which is quick; that the others do the same is for the laws.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.profiles import PRECISION_FLAGS, PROFILES
from conformance.runs import Runs, build_inputs
from conformance.subject import Subject
from fixtures.models import tiny_bart

pytest.importorskip("torch", reason="not run: PyTorch is not installed")

CHANGING: dict[str, Any] = {
    "adam_beta1": 0.5,
    "adam_beta2": 0.9,
    "adam_epsilon": 1e-2,
    "bf16": True,
    "dtype": "float64",
    "gradient_accumulation_steps": 2,
    "ignore_pad_token_for_loss": False,
    "label_smoothing_factor": 0.1,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "inverse_sqrt",
    "max_grad_norm": 0.01,
    "max_source_length": 8,
    "max_target_length": 4,
    "max_train_samples": 9,
    "seed": 1,
    "source_prefix": "summarize: ",
    "warmup_ratio": 0.4,
    "warmup_steps": 2,
    "weight_decay": 0.5,
}
KEEPING: dict[str, Any] = {
    "disable_tqdm": True,
    "gradient_checkpointing": True,
    "logging_steps": 1,
    "overwrite_cache": True,
    "pad_to_max_length": True,
    "preprocessing_num_workers": 2,
    "report_to": "tensorboard",
    "save_strategy": "epoch",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    top = tmp_path_factory.mktemp("flags")
    inputs = build_inputs(top / "inputs")
    return Runs(Subject.of("accelerate"), PROFILES["cpu"], inputs, top / "runs")


def steps(run: Runs, **flags: Any) -> list[tuple[float, float]]:
    # A large epsilon: Adam itself hardly sees how long a gradient is
    made = run(**{"adam_epsilon": 1e-3, "learning_rate": 1e-2, **flags})
    return [(step.loss, step.learning_rate) for step in made.steps]


@pytest.mark.parametrize("name", CHANGING)
def test_the_flag_changes_the_run(run: Runs, tmp_path: Path, name: str) -> None:
    flag = {name: CHANGING[name]}
    if name in PRECISION_FLAGS:  # given by a profile
        profile = replace(run.profile, flags={**run.profile.flags, **flag})
        other = Runs(run.subject, profile, run.inputs, tmp_path)
        assert steps(other) != steps(run)
    else:
        assert steps(run, **flag) != steps(run)


@pytest.mark.parametrize("name", KEEPING)
def test_the_flag_leaves_the_numbers(run: Runs, name: str) -> None:
    found, expected = steps(run, **{name: KEEPING[name]}), steps(run)
    for (loss, rate), (same_loss, same_rate) in zip(found, expected, strict=True):
        assert loss == pytest.approx(same_loss, rel=1e-6)
        assert rate == same_rate


def test_tensorboard_gets_every_log_line(run: Runs) -> None:
    made = run(report_to="tensorboard", logging_steps=2)
    events = list((made.folder / "runs").glob("events.out.tfevents.*"))
    assert len(events) == 1
    assert b"train/loss" in events[0].read_bytes()


def test_a_new_model_starts_from_the_seed(run: Runs) -> None:
    """--model_type with a config and a tokenizer: no folder of weights is needed."""
    folder = str(run.inputs.model)
    new: dict[str, Any] = {
        "model_name_or_path": None,
        "model_type": "t5",
        "config_name": folder,
        "tokenizer_name": folder,
    }
    first, other = run(**new), run(**new, seed=1)
    assert first.losses == run(**new, again=1).losses
    assert first.losses != other.losses
    assert 6 < first.losses[0] < 8  # near log(1000): a fresh model knows nothing


@pytest.mark.parametrize("name", ["accelerate", "pytorch"])
def test_another_architecture_trains(run: Runs, tmp_path: Path, name: str) -> None:
    """Any architecture that AutoModelForSeq2SeqLM knows: here BART."""
    bart = tiny_bart(tmp_path / "bart")
    runs = Runs(Subject.of(name), run.profile, run.inputs, tmp_path / "runs")
    made = runs(
        model_name_or_path=str(bart),
        max_steps=20,
        learning_rate=5e-3,
        do_eval=True,
        predict_with_generate=True,
    )
    assert made.losses[-1] < made.losses[0]
    assert made.report.metrics["eval_gen_len"] > 0
