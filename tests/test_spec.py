"""TrainingSpec and its command line: defaults, spellings, files, hash, validation."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, replace

import pytest

from reference_trainers.cli import flags_of_dict, parse
from reference_trainers.errors import InputError
from reference_trainers.spec import (
    ABOVE_ZERO,
    BELOW_ONE,
    OUTSIDE_THE_HASH,
    SECRETS,
    SMALLEST,
    TrainingSpec,
)

DEFAULTS = {flag.name: flag.default for flag in fields(TrainingSpec)}
# Where ours differ from transformers', and why
OTHER_DEFAULTS = {
    "optim": "the fused kernel rounds otherwise; both are AdamW",
    "disable_tqdm": "None stands for False there",
    "gradient_checkpointing": "None stands for False there",
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
    early_stopping="never",
    num_beams=4,
    eval_strategy="steps",
    eval_steps=0.25,
    greater_is_better=False,
)


def changed(**flags):
    """A spec of these flags and defaults; untyped, as their names vary."""
    return TrainingSpec(**flags)


def test_defaults_are_those_of_transformers():
    pytest.importorskip("torch", reason="not run: transformers' arguments need torch")
    from transformers import Seq2SeqTrainingArguments

    theirs = {f.name: f.default for f in fields(Seq2SeqTrainingArguments)}
    shared = theirs.keys() & DEFAULTS.keys()
    assert len(shared) > 35  # the test itself would not notice renamed fields
    other = {n for n in shared if theirs[n] is not MISSING and theirs[n] != DEFAULTS[n]}
    assert other == set(OTHER_DEFAULTS)


def test_every_flag_has_a_default_and_a_meaning():
    for flag in fields(TrainingSpec):
        assert flag.default is not MISSING, flag.name
        assert flag.metadata["help"].strip().endswith("."), flag.name
        assert len(flag.metadata["help"]) > 5, flag.name


def test_nothing_given_is_every_default():
    assert parse([]) == TrainingSpec()


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("evaluation_strategy", "eval_strategy", "epoch"),
        ("dataset_config", "dataset_config_name", "3.0.0"),
        ("no_cuda", "use_cpu", "true"),
        ("max_train_steps", "max_steps", "7"),
        ("num_warmup_steps", "warmup_steps", "3"),
        ("generation_num_beams", "num_beams", "2"),
    ],
)
def test_both_spellings_of_a_flag_are_one(old, new, value):
    assert parse([f"--{old}", value]) == parse([f"--{new}={value}"]) != TrainingSpec()


def test_dashes_are_underscores():
    assert parse(["--max-steps", "3"]).max_steps == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], False),
        (["--do_train"], True),
        (["--do_train", "true"], True),
        (["--do_train", "False"], False),
    ],
)
def test_switches(arguments, expected):
    assert parse(arguments).do_train is expected


def test_last_of_two_flags_counts():
    arguments = ["--output_dir", "first", "--output_dir", "second"]
    assert parse(arguments).output_dir == "second"


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_file_reads_back(tmp_path, ending):
    file = tmp_path / f"spec.{ending}"
    text = CHANGED.as_yaml() if ending == "yaml" else json.dumps(CHANGED.as_dict())
    file.write_text(text, encoding="utf-8")
    assert parse([str(file)]) == CHANGED
    assert parse([str(file), "--seed=1"]) == replace(CHANGED, seed=1)


def test_command_line_reads_back():
    assert parse(flags_of_dict(CHANGED.as_dict())) == CHANGED


def test_abbreviations_are_refused():
    with pytest.raises(InputError, match="--max_train_sample: no such flag"):
        parse(["--max_train_sample=3"])


def test_secrets_are_not_printed(monkeypatch):
    # Hub flags are refused for now; a token that is given must not leak all the same
    monkeypatch.setattr("reference_trainers.spec.NOT_YET", ())
    spec = TrainingSpec(token="hf_secret", hub_token="hf_secret")
    assert set(SECRETS) == {"token", "hub_token"}
    assert "hf_secret" not in spec.as_yaml() + json.dumps(spec.as_dict())
    assert spec.hash == TrainingSpec().hash


def test_hash_is_that_of_the_computation():
    assert len(CHANGED.hash) == 64
    assert CHANGED.hash == replace(CHANGED, output_dir="x", disable_tqdm=True).hash
    for change in ({"seed": 1}, {"source_prefix": ""}, {"num_beams": None}):
        assert changed(**{**vars(CHANGED), **change}).hash != CHANGED.hash
    assert DEFAULTS.keys() >= OUTSIDE_THE_HASH


@pytest.mark.parametrize("name", SMALLEST)
def test_too_small_numbers_are_refused(name):
    accepted = changed(**{name: SMALLEST[name]})
    assert getattr(accepted, name) == SMALLEST[name]
    with pytest.raises(InputError, match=f"^--{name} -3: give {SMALLEST[name]} or"):
        changed(**{name: -3})


@pytest.mark.parametrize("name", ABOVE_ZERO)
def test_zero_is_refused(name):
    with pytest.raises(InputError, match=f"^--{name} 0: give a number above 0"):
        changed(**{name: 0})


@pytest.mark.parametrize("name", BELOW_ONE)
def test_one_is_refused(name):
    with pytest.raises(InputError, match=f"^--{name} 1: give a number below 1"):
        changed(**{name: 1})


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(value):
    with pytest.raises(InputError, match=r"^--learning_rate .*finite"):
        parse([f"--learning_rate={value}"])


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"optim": "adafactor"}, "optim"),
        ({"early_stopping": "maybe"}, "early_stopping"),
        ({"warmup_ratio": 1.01}, "warmup_ratio"),
        ({"bf16": True, "dtype": "float64"}, "bf16"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end"),
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
    assert TrainingSpec(**flags).more_is_better is more_is_better


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
