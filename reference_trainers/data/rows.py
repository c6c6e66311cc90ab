"""A dataset name, CSV, JSON Lines or JSON -> the rows of a split."""

from __future__ import annotations

import logging
import os.path
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc

from reference_trainers.data.columns import (
    PRESENT_NAMES,
    columns_of,
    columns_of_file,
)
from reference_trainers.data.diagnosis import (
    csv_error,
    csv_header,
    error_of,
    refuse_short_rows,
)
from reference_trainers.data.files import Wanted, check_files, format_of, wanted_splits
from reference_trainers.data.json_rows import json_texts
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
        if wanted.file is None:
            assert spec.dataset_name is not None
            source, table = spec.dataset_name, _dataset_table(spec, wanted)
            columns = columns_of(spec, source, table.column_names, columns)
        else:
            source = wanted.file
            columns = columns_of_file(spec, wanted, source, columns)
            table = _file_table(Path(source), wanted, columns, spec.cache_dir)
        splits[wanted.name] = tokenized(
            spec, tokenizer, wanted.name, source, table, columns, wanted.limit
        )
    return splits


def _file_table(
    path: Path, wanted: Wanted, columns: tuple[str, str], cache_dir: str | None
) -> Any:
    """The first rows of a file; those behind `wanted.limit` are not judged."""
    if format_of(path, wanted.flag) == "csv":
        return _csv_table(path, wanted.limit, cache_dir)
    age = path.stat()
    try:
        return datasets.Dataset.from_generator(
            json_texts,
            features=_texts(columns),
            cache_dir=cache_dir,
            gen_kwargs={
                "path": str(path.absolute()),
                "columns": columns,
                "limit": wanted.limit,
                "size": age.st_size,
                "written": age.st_mtime_ns,
            },
        )
    except Exception as error:  # the library wraps what the generator raises
        raise error_of(path, error) from error


def _csv_table(path: Path, limit: int | None, cache_dir: str | None) -> Any:
    header = csv_header(path)
    try:
        table = datasets.load_dataset(
            "csv",
            data_files=str(path),
            split="train",
            cache_dir=cache_dir,
            # Every cell is text: "NA" and "007" are summaries like any other
            features=_texts(header),
            keep_default_na=False,
            nrows=limit,
        )
    except Exception as error:  # of pandas, wrapped or not
        raise csv_error(path, error) from error
    if _has_empty(table.data.column(header[-1])):  # a short row ends in an empty field
        refuse_short_rows(path, len(table))
    return table


def _texts(columns: Collection[str]) -> datasets.Features:
    return datasets.Features(dict.fromkeys(columns, datasets.Value("string")))


def _has_empty(cells: Any) -> bool:
    return pc.any(pc.equal(pc.binary_length(pc.fill_null(cells, "")), 0)).as_py()


def _dataset_table(spec: TrainingSpec, wanted: Wanted) -> Any:
    """The untouched rows of a split of the dataset."""
    assert spec.dataset_name is not None
    name = os.path.expanduser(spec.dataset_name)
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
    if wanted.name not in loaded:
        raise InputError(
            f"{wanted.because}: {asked} has no {wanted.name} split; "
            f"it has: {', '.join(loaded)}."
        )
    return loaded[wanted.name]
