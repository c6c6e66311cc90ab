"""Laws of bad input: exit status 2, one sentence, and nothing left half-written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conformance.law import law
from conformance.profiles import ALL
from conformance.runs import Runs
from fixtures.custom_files import BAD_FILES
from fixtures.write import write_text
from reference_trainers import TrainingSpec

Refusal = Callable[..., str]


@pytest.fixture
def refused(run: Runs, tmp_path: Path) -> Refusal:
    """``refused(max_steps=0)``: the one sentence that says why."""
    return partial(run.refused, tmp_path)


@law("input.bad-file", profiles=ALL)
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_by_name_and_line(
    refused: Refusal, tmp_path: Path, name: str
) -> None:
    """A file that cannot be used is refused, with its line where it has one."""
    bad = BAD_FILES[name]
    file = bad.write_in(tmp_path / "bad")
    columns = {"text_column": bad.text_column, "summary_column": bad.summary_column}
    said = refused(train_file=str(file), **columns)
    assert str(file) in said
    if bad.line is not None:
        assert said.startswith(f"{file}:{bad.line}: "), said
    if bad.column is not None:
        assert re.search(rf"column '?{bad.column}\b", said), said


@law("input.missing-column", profiles=ALL)
@pytest.mark.parametrize("flag", ["text_column", "summary_column"])
def test_missing_column_lists_those_that_exist(
    refused: Refusal, tmp_path: Path, flag: str
) -> None:
    """A column that is not there is refused with the names of those that are."""
    file = write_text(tmp_path / "rows.csv", "id,long,short\n1,One two.,One.\n")
    named = {"text_column": "long", "summary_column": "short", flag: "dialogue"}
    said = refused(train_file=str(file), **named)
    assert said.startswith(f"--{flag} dialogue: "), said
    assert "id, long, short" in said


@law("input.missing-file", profiles=ALL)
@pytest.mark.parametrize("flag", ["train_file", "validation_file", "test_file"])
def test_missing_file_is_refused(refused: Refusal, tmp_path: Path, flag: str) -> None:
    """A file that does not exist is refused by its flag, before anything runs."""
    file = str(tmp_path / "nowhere.csv")
    said = refused(do_eval=True, do_predict=True, **{flag: file})
    assert said == f"--{flag} {file}: no such file."


@law("input.no-rows", profiles=ALL)
@pytest.mark.parametrize(
    ("action", "flag"),
    [("do_train", "train"), ("do_eval", "validation"), ("do_predict", "test")],
)
def test_action_without_rows_is_refused(
    refused: Refusal, action: str, flag: str
) -> None:
    """An action whose rows are not named is refused by the flag that asks for it."""
    said = refused(**{action: True, f"{flag}_file": None})
    assert said.startswith(f"--{action}: ") and f"--{flag}_file" in said, said


BAD_FLAGS: dict[str, Any] = {
    "max_train_samples": 0,
    "max_eval_samples": -1,
    "max_predict_samples": 0,
    "per_device_train_batch_size": -4,
    "per_device_eval_batch_size": 0,
    "gradient_accumulation_steps": 0,
    "max_source_length": 0,
    "max_steps": "many",
    "learning_rate": "nan",
    "num_train_epochs": 0,
    "warmup_ratio": 1.5,
    "lr_scheduler_type": "sawtooth",
    "label_smoothing_factor": 1,
    "optim": "adafactor",
    "do_train": "perhaps",
    "early_stopping": "sometimes",
}


@law("input.bad-value", profiles=ALL)
@pytest.mark.parametrize("flag", BAD_FLAGS)
def test_bad_value_is_refused_by_its_flag(refused: Refusal, flag: str) -> None:
    """A value that a flag cannot have is refused in a sentence that names the flag."""
    assert refused(**{flag: BAD_FLAGS[flag]}).startswith(f"--{flag}")


@law("input.unknown-flag", profiles=ALL)
def test_unknown_flag_is_refused(refused: Refusal) -> None:
    """A flag that does not exist is refused, with the one that may have been meant."""
    said = refused("--per_device_batch_size=4")
    assert said.startswith("--per_device_batch_size: no such flag")
    assert "--per_device_train_batch_size" in refused("--per_device_train_batch=4")
    assert "stray" in refused("stray")


@law("input.refuses", profiles=ALL)
def test_what_cannot_be_honoured_is_refused(run: Runs, refused: Refusal) -> None:
    """A flag that the trainer says it cannot honour is refused, never ignored."""
    if not run.subject.refuses:
        pytest.skip("not run: the trainer says that it refuses no flag")
    for name, sentence in run.subject.refuses.items():
        said = refused(f"--{name}={another_value(name)}")
        assert said.startswith(f"--{name}"), said
        assert sentence in said, f"{said} does not say: {sentence}"


def another_value(name: str) -> str:
    """A value of the flag that is not its default."""
    (flag,) = (flag for flag in fields(TrainingSpec) if flag.name == name)
    kind = str(flag.type)
    if "bool" in kind:
        return str(not flag.default)
    if kind.startswith("Literal"):
        values = re.findall(r"[\"']([\w-]+)[\"']", kind)
        return next(value for value in values if value != flag.default)
    return "2" if "int" in kind or "float" in kind else "another"


EXTRA = "encoder.block.0.extra.weight"


def model_of(kind: str, made: Path, folder: Path) -> Path:
    """A folder that is not a model of ours, from one that is."""
    if kind != "missing":
        shutil.copytree(made, folder)
    config = folder / "config.json"
    match kind:
        case "encoder":
            config.write_text(json.dumps({"model_type": "bert"}), "utf-8")
        case "unknown type":
            config.write_text(json.dumps({"model_type": "t55"}), "utf-8")
        case "broken config":
            config.write_text('{"model_type": ', "utf-8")
        case "no config":
            config.unlink()
        case "pickled":
            (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        case "cut short":
            weights = folder / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:1000])
        case "weight too many":
            weights = folder / "model.safetensors"
            extra = {EXTRA: np.zeros(3, np.float32)}
            save_file(load_file(weights) | extra, weights, metadata={"format": "pt"})
        case "index without a map":
            (folder / "model.safetensors").unlink()
            index = folder / "model.safetensors.index.json"
            index.write_text('{"metadata": {}}', "utf-8")
        case "shard outside":
            (folder / "model.safetensors").rename(folder.parent / "out.safetensors")
            names = {"shared.weight": "../out.safetensors"}
            index = folder / "model.safetensors.index.json"
            index.write_text(json.dumps({"metadata": {}, "weight_map": names}), "utf-8")
        case "no tokenizer":
            for file in folder.glob("token*"):
                file.unlink()
    return folder


MODELS = (
    *("missing", "encoder", "unknown type", "broken config", "no config", "pickled"),
    *("cut short", "no tokenizer", "weight too many", "index without a map"),
    "shard outside",
)


@law("input.bad-model", profiles=ALL)
@pytest.mark.parametrize("kind", MODELS)
def test_bad_model_is_refused(
    run: Runs, refused: Refusal, tmp_path: Path, kind: str
) -> None:
    """A folder that holds no sequence-to-sequence model is refused by its name."""
    model = model_of(kind, run.inputs.model, tmp_path / "model")
    said = refused(model_name_or_path=str(model))
    assert (EXTRA if kind == "weight too many" else str(model)) in said
    if kind == "encoder":
        assert "bert" in said and "sequence-to-sequence" in said, said


@law("input.nothing-to-do", profiles=ALL)
def test_nothing_to_do_is_said(run: Runs, refused: Refusal) -> None:
    """Without a do_* flag a run says so, unless it trains and evaluates by default."""
    if run.subject.trains_by_default:
        pytest.skip("not run: this trainer trains and evaluates by default")
    assert "--do_train" in refused(do_train=False)


@law("input.output-folder", profiles=ALL)
def test_output_folder_that_cannot_be_written(refused: Refusal, tmp_path: Path) -> None:
    """An output folder that is a file, or below one, is refused by its name."""
    file = write_text(tmp_path / "file", "kept")
    for output in (file, file / "below"):
        said = refused(output_dir=str(output))
        assert said.startswith(f"--output_dir {output}: "), said
    assert refused(output_dir=None).startswith("--output_dir: ")


@law("input.occupied-folder", profiles=ALL)
def test_output_folder_with_other_files(run: Runs, tmp_path: Path) -> None:
    """A folder with files and no checkpoint is refused, and keeps its files."""
    write_text(tmp_path / "output" / "notes.txt", "kept")
    said = run.refused(tmp_path)
    assert str(tmp_path / "output") in said and "--overwrite_output_dir" in said


@law("input.bad-spec-file", profiles=ALL)
@pytest.mark.parametrize("text", [None, "do_train: [", "- do_train", "epochs: 3"])
def test_bad_spec_file_is_refused(
    refused: Refusal, tmp_path: Path, text: str | None
) -> None:
    """A spec file that is missing, or is no mapping of flags, is refused."""
    file = tmp_path / "spec.yaml"
    if text is not None:
        file.write_text(text, "utf-8")
    assert refused(str(file)).startswith(
        "--epochs: no such flag" if text == "epochs: 3" else f"{file}: "
    )


@law("input.nan", profiles=ALL)
def test_nan_stops_the_run(run: Runs, tmp_path: Path) -> None:
    """A loss that is no number stops the run with its step; earlier results stay."""
    ended = run.command(tmp_path, do_eval=True)
    assert ended.status == 0, ended.said
    # Squares of such weights are finite, products of two such squares are not
    flags: dict[str, Any] = {"do_eval": True, "overwrite_output_dir": True}
    flags["learning_rate"] = 1e150 if run.profile.precision == "float64" else 1e18
    said = run.refused(tmp_path, **flags)
    assert re.match(r"step [1-4]: .*nan", said), said
    assert (tmp_path / "output" / "model.safetensors").is_file()
