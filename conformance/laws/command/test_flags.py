"""Laws of flags: however they are given, the same flags are the same run."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from safetensors.numpy import load_file

from conformance.differences import assert_same_steps
from conformance.launch import launch_command
from conformance.law import law
from conformance.laws.properties import for_all
from conformance.profiles import ALL
from conformance.runs import Finished, Runs
from conformance.tolerances import RECUT
from fixtures.tokenizer import write_tokenizer
from reference_trainers import RunReport, TrainingSpec, flags_of_dict

BRIEF: dict[str, Any] = {
    "max_steps": 2,
    "max_eval_samples": 5,
    "max_train_samples": 9,
    "do_eval": True,
}


def told(run: Runs, folder: Path, *arguments: str) -> RunReport:
    """The report of a run that is started by these arguments alone."""
    words = [*arguments, f"--output_dir={folder}"]
    ended = launch_command(run.subject, run.profile, words)
    assert ended.status == 0, ended.said
    return RunReport.read(folder)


def assert_same_run(run: Runs, made: RunReport, expected: RunReport) -> None:
    """One spec, and the same numbers."""
    assert made.spec_hash == expected.spec_hash
    assert_same_steps(made.steps, expected.steps, RECUT, run.profile.precision)
    assert made.metrics["eval_loss"] == pytest.approx(expected.metrics["eval_loss"])


def arguments_of(run: Runs, **flags: Any) -> list[str]:
    return flags_of_dict(run.spec(**BRIEF | flags).as_dict())


@law("flags.any-order", profiles=ALL)
@for_all(turned=st.randoms(use_true_random=False))
def test_order_of_flags_does_not_matter(
    run: Runs, tmp_path: Path, turned: random.Random
) -> None:
    """Flags in any order, joined to their value or not, are the same run."""
    given = arguments_of(run)
    words: list[str] = []
    for argument in turned.sample(given, len(given)):
        name, _, value = argument.partition("=")
        joined = turned.random() < 0.5 or value.startswith("-")
        words += [argument] if joined else [name, value]
    folder = tmp_path / str(turned.random())
    assert_same_run(run, told(run, folder, *words), run(**BRIEF).report)


@law("flags.spec-file", profiles=ALL)
@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_a_spec_file_is_its_flags(run: Runs, tmp_path: Path, kind: str) -> None:
    """A spec file is the run of its flags, and a flag beside it wins."""
    file = tmp_path / f"spec.{kind}"
    spec = run.spec(**BRIEF | {"seed": 7})
    given = {name: value for name, value in spec.as_dict().items() if value is not None}
    text = json.dumps(given) if kind == "json" else spec.as_yaml()
    file.write_text(text, "utf-8")
    made = told(run, tmp_path / "seven", str(file))
    assert made.spec_hash == spec.hash
    other = told(run, tmp_path / "other", str(file), "--seed=42")
    assert_same_run(run, other, run(**BRIEF).report)
    assert made.steps[0].loss != other.steps[0].loss


@law("flags.defaults", profiles=ALL)
def test_a_default_that_is_given_changes_nothing(run: Runs, tmp_path: Path) -> None:
    """Every default, given as a flag, is the run without it."""
    plain = arguments_of(run)
    named = {argument.partition("=")[0] for argument in plain}
    defaults = {flag.name: flag.default for flag in fields(TrainingSpec)}
    more = [
        argument
        for argument in flags_of_dict(defaults)
        if argument.partition("=")[0] not in named
    ]
    made = told(run, tmp_path / "defaults", *plain, *more)
    assert_same_run(run, made, run(**BRIEF).report)


OTHER_NAMES = {
    "per_device_train_batch_size": "per_gpu_train_batch_size",
    "max_steps": "max-train-steps",
    "max_eval_samples": "max_val_samples",
    "learning_rate": "learning-rate",
    "warmup_steps": "num_warmup_steps",
    "use_cpu": "no_cuda",
    "eval_strategy": "evaluation_strategy",
}


@law("flags.other-names", profiles=ALL)
def test_a_flag_by_another_name_is_the_same(run: Runs, tmp_path: Path) -> None:
    """A flag by the name that an older script gave it, or with dashes, is that flag."""
    flags = {"warmup_steps": 1, "eval_strategy": "steps", "eval_steps": 1}
    given = arguments_of(run, **flags)
    words = []
    for argument in given:
        name, _, value = argument.removeprefix("--").partition("=")
        words.append(f"--{OTHER_NAMES.get(name, name)}={value}")
    assert len({*words} - {*given}) >= 6
    made = told(run, tmp_path / "renamed", *words)
    assert_same_run(run, made, run(**BRIEF | flags).report)


def shape(made: Finished) -> dict[str, tuple[int, ...]]:
    weights = load_file(made.folder / "model.safetensors")
    return {name: value.shape for name, value in weights.items()}


@law("flags.model", profiles=ALL)
def test_config_and_tokenizer_are_those_named(run: Runs, tmp_path: Path) -> None:
    """Of a new model config_name decides the shape, and tokenizer_name the tokens."""
    write_tokenizer(tmp_path / "tokenizer", vocab_size=200)
    new: dict[str, Any] = {"model_name_or_path": None, "model_type": "t5"}
    folders = run.inputs.model, run.inputs.deep_model
    shallow, deep = (
        run(config_name=str(folder), tokenizer_name=str(folder), max_steps=1, **new)
        for folder in folders
    )
    assert shape(shallow).keys() < shape(deep).keys()
    other = run(
        config_name=str(run.inputs.model),
        tokenizer_name=str(tmp_path / "tokenizer"),
        max_steps=1,
        **new,
    )
    assert other.report.splits["train"].digest != shallow.report.splits["train"].digest
