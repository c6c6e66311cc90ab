"""A dataset name, CSV, JSON Lines or JSON -> the rows of a split."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import datasets

from reference_trainers.data.columns import PRESENT_NAMES
from reference_trainers.data.diagnosis import (
    csv_header,
    explained,
    json_field,
)
from reference_trainers.data.tokens import Split, tokenized
from reference_trainers.errors import InputError
from reference_trainers.spec import TrainingSpec

COMPRESSIONS = (".gz", ".bz2", ".xz")
FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json"}
SPLITS = ("train", "validation", "test")


def load_rows(spec: TrainingSpec, tokenizer: Any) -> dict[str, Split]:
    """The splits that a run needs, by name.

    Raises `InputError` for anything in files or columns that the user can mend.
    """
    datasets.logging.set_verbosity(logging.CRITICAL)  # its errors are told in our words
    if spec.disable_tqdm or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    wanted = {
        "train": (spec.do_train, "--do_train", spec.max_train_samples),
        "validation": (
            spec.do_eval or (spec.do_train and spec.eval_strategy != "no"),
            "--do_eval" if spec.do_eval else "--eval_strategy",
            spec.max_eval_samples,
        ),
        "test": (spec.do_predict, "--do_predict", spec.max_predict_samples),
    }
    splits = {}
    for name, (needed, flag, limit) in wanted.items():
        if needed:
            source, table = _table(spec, name, flag)
            splits[name] = tokenized(spec, tokenizer, name, source, table, limit)
    return splits


def _table(spec: TrainingSpec, split: str, flag: str) -> tuple[str, Any]:
    """Name and `datasets.Dataset` of the untouched rows of a split."""
    file = getattr(spec, f"{split}_file")
    if file is not None:
        return file, _file_table(Path(file), f"--{split}_file {file}", spec.cache_dir)
    if spec.dataset_name is None:
        raise InputError(f"{flag}: give --{split}_file or --dataset_name.")
    return spec.dataset_name, _dataset_table(spec, split, flag)


def _file_table(path: Path, flag: str, cache_dir: str | None) -> Any:
    ending = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    kind = FORMATS.get(ending.suffix)
    if kind is None:
        raise InputError(
            f"{flag}: give a .csv, .json or .jsonl file "
            f"(or one of these with {', '.join(COMPRESSIONS)} behind)."
        )
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{flag}: {what}.")
    try:
        if kind == "csv":
            # Every cell is text: "NA" and "007" are summaries like any other
            text = datasets.Value("string")
            features = datasets.Features(dict.fromkeys(csv_header(path), text))
            options: dict[str, Any] = {"features": features, "keep_default_na": False}
        else:
            options = {"field": json_field(path)}
        return datasets.load_dataset(
            kind, data_files=str(path), split="train", cache_dir=cache_dir, **options
        )
    except InputError:
        raise
    except Exception as error:  # each file format raises errors of its own library
        raise explained(path, kind, error) from error


def _dataset_table(spec: TrainingSpec, split: str, flag: str) -> Any:
    assert spec.dataset_name is not None
    name = PRESENT_NAMES.get(spec.dataset_name, spec.dataset_name)
    asked = f"--dataset_name {spec.dataset_name}"
    try:
        loaded = datasets.load_dataset(
            name, spec.dataset_config_name, cache_dir=spec.cache_dir, token=spec.token
        )
    except Exception as error:  # no network, no such name, no such configuration ...
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{asked}: cannot be loaded: {reason}.") from error
    if split not in loaded:
        raise InputError(
            f"{flag}: {asked} has no {split} split; it has: {', '.join(loaded)}."
        )
    return loaded[split]
