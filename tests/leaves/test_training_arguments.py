"""What Seq2SeqTrainingArguments is told of a spec: nothing can be forgotten."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("torch", reason="not run: PyTorch is not installed")

from transformers import Seq2SeqTrainingArguments

from reference_trainers.errors import InputError
from reference_trainers.pytorch.arguments import (
    NOT_PASSED_ON,
    training_arguments,
)
from reference_trainers.pytorch.load import require_own_precision
from reference_trainers.spec import TrainingSpec

THEIRS = {field.name for field in fields(Seq2SeqTrainingArguments)}
OURS = {field.name: field.default for field in fields(TrainingSpec)}
SHARED = THEIRS & OURS.keys()
# Another value for each flag that is passed on
CHANGED: dict[str, Any] = {
    "adam_beta1": 0.5,
    "adam_beta2": 0.5,
    "adam_epsilon": 1e-3,
    "bf16": True,
    "fp16": True,
    "gradient_accumulation_steps": 3,
    "label_smoothing_factor": 0.2,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 0.5,
    "max_steps": 7,
    "num_train_epochs": 1.5,
    "output_dir": "elsewhere",
    "per_device_train_batch_size": 3,
    "seed": 7,
    "use_cpu": True,
    "weight_decay": 0.1,
}


def test_every_shared_flag_is_passed_on_or_has_its_reason():
    assert NOT_PASSED_ON.keys() - {"push_to_hub_model_id"} <= SHARED
    assert SHARED - NOT_PASSED_ON.keys() == {*CHANGED}
    assert all(NOT_PASSED_ON.values())


@pytest.mark.parametrize("name", CHANGED)
def test_a_flag_that_is_passed_on_arrives(name):
    flags: dict[str, Any] = {"output_dir": "out", "use_cpu": True, name: CHANGED[name]}
    assert getattr(training_arguments(TrainingSpec(**flags)), name) == CHANGED[name]


def test_both_flags_of_the_warmup_are_one():
    flags: dict[str, Any] = {"output_dir": "out", "use_cpu": True}
    for warmup in ({"warmup_steps": 3}, {"warmup_steps": 3, "warmup_ratio": 0.5}):
        assert training_arguments(TrainingSpec(**flags, **warmup)).warmup_steps == 3
    share = TrainingSpec(**flags, warmup_ratio=0.5)
    assert training_arguments(share).warmup_steps == 0.5


@pytest.mark.parametrize(
    ("launcher", "flags", "refused"),
    [
        ("no", {}, False),
        ("bf16", {}, True),
        ("fp16", {}, True),
        ("bf16", {"bf16": True}, False),
        ("fp16", {"bf16": True}, True),
        ("fp16", {"fp16": True}, False),
    ],
)
def test_the_launchers_own_precision_is_not_obeyed_in_silence(
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    flags: dict[str, Any],
    refused: bool,
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    if not refused:
        require_own_precision(TrainingSpec(**flags))
        return
    with pytest.raises(InputError, match=f"mixed_precision is {launcher}"):
        require_own_precision(TrainingSpec(**flags))
