"""TrainingSpec: defaults, hash, validation."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest

from reference_trainers.errors import InputError
from reference_trainers.flags import GenerationFlags
from reference_trainers.spec import SECRETS, TrainingSpec

DEFAULTS = {flag.name: flag.default for flag in fields(TrainingSpec)}


def bounded(kind):
    """(flag, bound) of every flag that has a bound of this kind."""
    bounds = {flag.name: flag.metadata[kind] for flag in fields(TrainingSpec)}
    return [(name, bound) for name, bound in bounds.items() if bound is not None]


BEST = {"load_best_model_at_end": True, "eval_strategy": "steps"}
GENERATES = {"do_predict": True, "predict_with_generate": True}
EVALUATES = {"do_train": True, "eval_strategy": "epoch"}
# Where ours differ from transformers', and why
OTHER_DEFAULTS = {
    "optim": "the fused kernel rounds otherwise; both are AdamW",
    "disable_tqdm": "None stands for False there",
    "gradient_checkpointing": "None stands for False there, in later versions",
}
# One value other than the default for each flag, where a plain one can be made
CHANGED = TrainingSpec(
    model_name_or_path="a folder/with a space",
    source_prefix="--summarize: ",
    text_column="été",
    max_train_samples=5,
    num_train_epochs=2.5,
    do_train=True,
    learning_rate=1e-300,
    warmup_ratio=0.1,
    predict_with_generate=True,
    early_stopping="never",
    num_beams=4,
    eval_strategy="steps",
    eval_steps=0.25,
    load_best_model_at_end=True,
    greater_is_better=False,
)
# What a flag has no effect without
GENERATES = {"predict_with_generate": True}
NEEDED: dict[str, dict[str, Any]] = {
    **{flag.name: GENERATES for flag in fields(GenerationFlags)},
    **dict.fromkeys(("metric_for_best_model", "greater_is_better"), BEST),
    "eval_steps": {"eval_strategy": "steps"},
}


def changed(**flags):
    """A spec of these flags, what they need, and defaults; untyped: names vary."""
    needed = {k: v for name in flags for k, v in NEEDED.get(name, {}).items()}
    return TrainingSpec(**needed | flags)


def test_defaults_are_those_of_transformers():
    pytest.importorskip("torch", reason="not run: transformers' arguments need torch")
    from transformers import Seq2SeqTrainingArguments

    theirs = {f.name: f.default for f in fields(Seq2SeqTrainingArguments)}
    shared = theirs.keys() & DEFAULTS.keys()
    assert len(shared) > 35  # the test itself would not notice renamed fields
    other = {n for n in shared if theirs[n] is not MISSING and theirs[n] != DEFAULTS[n]}
    assert other | {"gradient_checkpointing"} == set(OTHER_DEFAULTS)


def test_every_flag_has_a_default_and_a_meaning():
    for flag in fields(TrainingSpec):
        assert flag.default is not MISSING, flag.name
        assert flag.metadata["help"].strip().endswith("."), flag.name
        assert len(flag.metadata["help"]) > 5, flag.name


def test_secrets_are_not_printed():
    spec = TrainingSpec(token="hf_secret", hub_token="hf_secret", push_to_hub=True)
    assert set(SECRETS) == {"token", "hub_token"}
    assert "hf_secret" not in spec.as_yaml() + json.dumps(spec.as_dict())
    assert spec.hash == TrainingSpec().hash


def test_hash_is_that_of_the_computation():
    assert len(CHANGED.hash) == 64
    assert CHANGED.hash == replace(CHANGED, output_dir="x", disable_tqdm=True).hash
    for change in ({"seed": 1}, {"source_prefix": ""}, {"num_beams": None}):
        assert changed(**{**vars(CHANGED), **change}).hash != CHANGED.hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"logging_steps": 1}),
        ({}, {"gradient_checkpointing": True}),
        ({}, {"save_strategy": "epoch"}),
        ({}, {"pad_to_max_length": True}),
        ({}, {"optim": "adamw_torch_fused"}),
        ({}, {"per_device_eval_batch_size": 2}),
        (BEST, {**BEST, "metric_for_best_model": "loss"}),
        ({"max_steps": 3}, {"max_steps": 3, "num_train_epochs": 1}),
        ({"warmup_steps": 0.1}, {"warmup_ratio": 0.1}),
        ({"warmup_steps": 5}, {"warmup_steps": 5.0, "warmup_ratio": 0.1}),
        ({"num_train_epochs": 2}, {"num_train_epochs": 2.0}),
        ({"model_name_or_path": "a/b"}, {"model_name_or_path": "a/b/"}),
        ({}, {"val_max_target_length": 128}),
        ({**GENERATES, "length_penalty": 1}, {**GENERATES, "length_penalty": 1.0}),
        ({"do_train": True}, {"do_train": True, "validation_file": "a.csv"}),
        ({"do_eval": True}, {"do_eval": True, "train_file": "a.csv"}),
        ({"do_eval": True}, {"do_eval": True, "max_train_samples": 3}),
        ({"do_eval": True}, {"do_eval": True, "max_predict_samples": 3}),
    ],
)
def test_the_same_computation_has_one_hash(one, other):
    assert changed(**one).hash == changed(**other).hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"eval_strategy": "steps"}, {"eval_strategy": "steps", "logging_steps": 1}),
        ({"warmup_steps": 1}, {"warmup_ratio": 1}),
        (
            {"ignore_pad_token_for_loss": False},
            {"ignore_pad_token_for_loss": False, "pad_to_max_length": True},
        ),
        (
            {**BEST, "save_steps": 500},
            {**BEST, "save_steps": 1000},
        ),
        ({"source_prefix": "a"}, {"source_prefix": "a/"}),
        (GENERATES, {**GENERATES, "num_beams": 4}),
        ({"do_train": True}, {"do_train": True, "train_file": "a.csv"}),
        (EVALUATES, {**EVALUATES, "validation_file": "a.csv"}),
        ({"do_predict": True}, {"do_predict": True, "max_predict_samples": 3}),
        *(({}, {name: True}) for name in ("do_train", "do_eval", "bf16", "fp16")),
    ],
)
def test_another_computation_has_another_hash(one, other):
    assert changed(**one).hash != changed(**other).hash


@pytest.mark.parametrize(("name", "least"), bounded("at_least"))
def test_too_small_numbers_are_refused(name, least):
    if name != "max_steps":  # 0 is none of its values
        assert getattr(changed(**{name: least}), name) == least
    with pytest.raises(InputError, match=f"^--{name} -3: give {least} or more"):
        changed(**{name: -3})


@pytest.mark.parametrize(("name", "bound"), bounded("above"))
def test_zero_is_refused(name, bound):
    with pytest.raises(InputError, match=f"^--{name} {bound}: give a number above 0"):
        changed(**{name: bound})


@pytest.mark.parametrize(("name", "bound"), bounded("below"))
def test_one_is_refused(name, bound):
    with pytest.raises(InputError, match=f"^--{name} {bound}: give a number below 1"):
        changed(**{name: bound})


def test_bounds_are_where_they_are_needed():
    assert len(bounded("at_least")) > 20
    assert {name for name, _ in bounded("at_most")} == {"warmup_ratio"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"max_steps": "3"}, "--max_steps 3: give a whole number."),
        ({"max_steps": 1.5}, "--max_steps 1.5: give a whole number."),
        ({"seed": True}, "--seed True: give a whole number."),
        ({"learning_rate": None}, "--learning_rate None: give a number."),
        ({"do_train": "yes"}, "--do_train yes: give true or false."),
        ({"output_dir": 3}, "--output_dir 3: give a text."),
        ({"save_strategy": "never"}, "--save_strategy never: give no, steps or epoch."),
    ],
)
def test_values_made_in_python_are_refused_alike(flags, sentence):
    with pytest.raises(InputError) as refused:
        changed(**flags)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(value):
    with pytest.raises(InputError, match=r"^--learning_rate .*finite"):
        TrainingSpec(learning_rate=float(value))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"optim": "adafactor"}, "optim"),
        ({"early_stopping": "maybe"}, "early_stopping"),
        ({"warmup_ratio": 1.01}, "warmup_ratio"),
        ({"bf16": True, "dtype": "float64"}, "bf16"),
        ({"fp16": True, "dtype": "float64"}, "fp16"),
        ({"fp16": True, "bf16": True}, "bf16 and --fp16 exclude each other"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end"),
        ({"save_steps": 2.7}, "save_steps"),
        ({"logging_steps": 1.5}, "logging_steps"),
        ({"warmup_steps": 10.5}, "warmup_steps"),
        (
            {
                "load_best_model_at_end": True,
                "eval_strategy": "steps",
                "eval_steps": 200,
            },
            "save_steps",
        ),
        (
            {
                "load_best_model_at_end": True,
                "eval_strategy": "steps",
                "metric_for_best_model": "rouge1",
            },
            "metric_for_best_model",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(flags, named):
    with pytest.raises(InputError, match=f"^--{named}"):
        TrainingSpec(**flags)


@pytest.mark.parametrize(
    ("flags", "more_is_better"),
    [
        ({}, False),
        ({"metric_for_best_model": "eval_loss"}, False),
        ({"metric_for_best_model": "eval_rouge1"}, True),
        ({"metric_for_best_model": "rouge1", "greater_is_better": False}, False),
    ],
)
def test_what_best_means(flags, more_is_better):
    assert changed(**GENERATES, **flags).more_is_better is more_is_better


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"max_steps": 0}, "--max_steps 0"),
        ({"seed": 2**31}, "--seed 2147483648: give 2147483647 or less"),
        ({"max_source_length": 10**20}, "--max_source_length"),
        ({"text_column": ""}, "--text_column: is empty"),
        ({"model_type": "t5", "model_name_or_path": "m"}, "--model_type"),
        ({"dataset_name": "d", "train_file": "f.csv"}, "--train_file exclude"),
        ({"min_length": 200}, "--min_length 200: is above"),
    ],
)
def test_what_makes_no_sense_is_refused(flags, sentence):
    with pytest.raises(InputError, match=sentence):
        TrainingSpec(**flags)


@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        *(({f.name: 1}, "--predict_with_generate") for f in fields(GenerationFlags)),
        ({"metric_for_best_model": "loss"}, "--load_best_model_at_end"),
        ({"greater_is_better": False}, "--load_best_model_at_end"),
        ({"eval_steps": 2}, "--eval_strategy steps"),
        ({"eval_steps": 2, "eval_strategy": "epoch"}, "--eval_strategy steps"),
        ({"save_steps": 2, "save_strategy": "epoch"}, "--save_strategy steps"),
        ({"save_total_limit": 2, "save_strategy": "no"}, "a --save_strategy"),
    ],
)
def test_a_flag_without_effect_is_refused(flags, needs):
    if "early_stopping" in flags:
        flags = {"early_stopping": "true"}
    name, value = next(iter(flags.items()))
    with pytest.raises(
        InputError, match=f"^--{name} {value}: has no effect without {needs}"
    ):
        TrainingSpec(**flags)
