"""Flags of transformers' older scripts get their meaning, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from reference_trainers.cli import parse
from reference_trainers.errors import InputError
from reference_trainers.flags import GROUPS
from reference_trainers.old_flags import ONLY, REFUSED, UNDERSTOOD
from reference_trainers.spec import TrainingSpec
from reference_trainers.spec_rules import kinds

XSUM = "tests/fixtures/tests_samples/xsum/sample.json"
SHARED: dict[str, Any] = {
    "train_file": XSUM,
    "validation_file": XSUM,
    "learning_rate": 2e-4,
    "warmup_steps": 8,
    "per_device_train_batch_size": 2,
    "per_device_eval_batch_size": 1,
}
STEPS: dict[str, Any] = {
    "do_train": True,
    "do_eval": True,
    "overwrite_output_dir": True,
}
# The flags with which transformers tests its summarization examples (before v5)
EXAMPLE_TESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "test_pytorch_examples.py": (
        f"""--model_name_or_path google-t5/t5-small --train_file {XSUM}
        --validation_file {XSUM} --output_dir out --overwrite_output_dir --max_steps=50
        --warmup_steps=8 --do_train --do_eval --learning_rate=2e-4
        --per_device_train_batch_size=2 --per_device_eval_batch_size=1
        --predict_with_generate""",
        {
            **STEPS,
            "model_name_or_path": "google-t5/t5-small",
            "max_steps": 50,
            "predict_with_generate": True,
        },
    ),
    "test_accelerate_examples.py": (
        f"""--model_name_or_path t5-small --train_file {XSUM} --validation_file {XSUM}
        --output_dir out --max_train_steps=50 --num_warmup_steps=8 --learning_rate=2e-4
        --per_device_train_batch_size=2 --per_device_eval_batch_size=1
        --checkpointing_steps epoch""",
        {
            "model_name_or_path": "t5-small",
            "max_steps": 50,
            "save_strategy": "epoch",
        },
    ),
    "test_tensorflow_examples.py": (
        f"""--model_name_or_path t5-small --train_file {XSUM} --validation_file {XSUM}
        --output_dir out --overwrite_output_dir --max_steps=50 --warmup_steps=8
        --do_train --do_eval --learning_rate=2e-4 --per_device_train_batch_size=2
        --per_device_eval_batch_size=1""",
        {**STEPS, "model_name_or_path": "t5-small", "max_steps": 50},
    ),
    "test_flax_examples.py": (
        f"""--model_name_or_path google-t5/t5-small --train_file {XSUM}
        --validation_file {XSUM} --test_file {XSUM} --output_dir out
        --overwrite_output_dir --num_train_epochs=3 --warmup_steps=8 --do_train
        --do_eval --do_predict --learning_rate=2e-4 --per_device_train_batch_size=2
        --per_device_eval_batch_size=1 --predict_with_generate""",
        {
            **STEPS,
            "model_name_or_path": "google-t5/t5-small",
            "test_file": XSUM,
            "do_predict": True,
            "predict_with_generate": True,
        },
    ),
}


@pytest.mark.parametrize("name", EXAMPLE_TESTS)
def test_transformers_own_example_tests_run_as_they_are(name):
    line, meaning = EXAMPLE_TESTS[name]
    assert parse(line.split()) == TrainingSpec(output_dir="out", **SHARED, **meaning)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("--checkpointing_steps 7", {"save_strategy": "steps", "save_steps": 7}),
        ("--checkpointing_steps epoch", {"save_strategy": "epoch"}),
        ("--checkpointing_steps 7 --save_steps 7", {"save_steps": 7}),
        ("--with_tracking", {"report_to": "tensorboard"}),
        ("--with_tracking no", {}),
        ("--with_tracking --report_to all", {"report_to": "tensorboard"}),
        ("--dtype bfloat16", {"bf16": True}),
        ("--dtype float16", {"fp16": True}),
        ("--prediction_loss_only", {}),
        ("--use_slow_tokenizer false", {}),
        ("--use_fast_tokenizer", {}),
        ("--use-fast-tokenizer=Yes", {}),
        ("--dataloader_num_workers 0", {}),
        ("--logging_strategy steps", {}),
    ],
)
def test_what_they_mean(line, meaning):
    assert parse(line.split()) == TrainingSpec(**meaning)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--checkpointing_steps often", "--checkpointing_steps often: give a number"),
        ("--checkpointing_steps 7 --save_steps 8", "means --save_steps 7, but"),
        ("--checkpointing_steps 0", "--save_steps 0.0: give a number above 0"),
        ("--with_tracking --report_to none", "means --report_to tensorboard, but"),
        ("--with_tracking --report_to wandb", "but --report_to wandb is given"),
        ("--with_tracking perhaps", "--with_tracking perhaps: give true or false"),
        ("--prediction_loss_only --predict_with_generate", "means --predict_with"),
        ("--use_slow_tokenizer", "--use_slow_tokenizer true: leave it out; "),
        ("--no_use_fast_tokenizer", "--no_use_fast_tokenizer: no such flag"),
        ("--dataloader_num_workers 4", "--dataloader_num_workers 4: leave it out; "),
        ("--generation_max_length=9", "--generation_max_length: give --val_max_"),
        ("--tpu-zone here", "--tpu_zone: not supported"),
    ],
)
def test_what_cannot_be_meant_is_refused(line, sentence):
    with pytest.raises(InputError, match=sentence):
        parse(line.split())


def test_no_name_is_old_and_new():
    aliases = {
        alias
        for g in GROUPS
        for f in vars(g)["__dataclass_fields__"].values()
        for alias in f.metadata["aliases"]
    }
    names = [*kinds(), *aliases, *UNDERSTOOD, *ONLY, *REFUSED]
    assert len(names) == len(set(names))
