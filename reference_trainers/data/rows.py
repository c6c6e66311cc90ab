"""A dataset name, CSV, JSON Lines or JSON -> the rows of a split."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import datasets

from reference_trainers.data.columns import PRESENT_NAMES, columns_of
from reference_trainers.data.diagnosis import error_of
from reference_trainers.data.files import (
    Wanted,
    check_files,
    format_of,
    wanted_splits,
)
from reference_trainers.data.formats import csv_header, json_field
from reference_trainers.data.tokens import Split, tokenized
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.spec import TrainingSpec

SPLITS = ("train", "validation", "test")


def load_rows(spec: TrainingSpec, tokenizer: Any) -> dict[str, Split]:
    """The splits that a run needs, by name.

    Raises `InputError` for anything in files or columns that the user can fix.
    """
    check_files(spec)
    datasets.logging.set_verbosity(logging.CRITICAL)  # its errors are told in our words
    if spec.disable_tqdm or not sys.stderr.isatty():
        datasets.disable_progress_bars()
    splits: dict[str, Split] = {}
    columns = None
    for wanted in wanted_splits(spec):
        source, table = _table(spec, wanted)
        columns = columns_of(spec, source, table.column_names, columns)
        splits[wanted.name] = tokenized(
            spec, tokenizer, wanted.name, source, table, columns, wanted.limit
        )
    return splits


def _table(spec: TrainingSpec, wanted: Wanted) -> tuple[str, Any]:
    """Name and `datasets.Dataset` of the untouched rows of a split."""
    if wanted.file is not None:
        flag = f"--{wanted.name}_file {wanted.file}"
        return wanted.file, _file_table(Path(wanted.file), flag, spec.cache_dir)
    assert spec.dataset_name is not None
    return spec.dataset_name, _dataset_table(spec, wanted.name, wanted.because)


def _file_table(path: Path, flag: str, cache_dir: str | None) -> Any:
    file_format = format_of(path, flag)
    try:
        if file_format == "csv":
            # Every cell is text: "NA" and "007" are summaries like any other
            text = datasets.Value("string")
            features = datasets.Features(dict.fromkeys(csv_header(path), text))
            options: dict[str, Any] = {"features": features, "keep_default_na": False}
        else:
            options = {"field": json_field(path)}
        return datasets.load_dataset(
            file_format,
            data_files=str(path),
            split="train",
            cache_dir=cache_dir,
            **options,
        )
    except InputError:
        raise
    except Exception as error:  # each file format raises errors of its own library
        raise error_of(path, file_format, error) from error


def _dataset_table(spec: TrainingSpec, split: str, flag: str) -> Any:
    assert spec.dataset_name is not None
    name = spec.dataset_name
    if not Path(name).is_dir():  # a folder wins, as it does for models
        name = PRESENT_NAMES.get(name, name)
    asked = f"--dataset_name {spec.dataset_name}"
    try:
        loaded = datasets.load_dataset(
            name, spec.dataset_config_name, cache_dir=spec.cache_dir, token=spec.token
        )
    except Exception as error:  # no network, no such name, no such configuration ...
        reason = sentence_of(error)
        raise InputError(f"{asked}: cannot be loaded: {reason}") from error
    if split not in loaded:
        raise InputError(
            f"{flag}: {asked} has no {split} split; it has: {', '.join(loaded)}."
        )
    return loaded[split]
