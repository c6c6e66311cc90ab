"""Rows of text -> rows of tokens, each with its number, and a digest of all."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_trainers.data.diagnosis import line_of_row
from reference_trainers.data.json_rows import nul_error
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.results import SplitReport
from reference_trainers.spec import TrainingSpec


@dataclass(frozen=True)
class Split:
    """The usable rows of one split, in the order of their file."""

    rows: Any
    """datasets.Dataset with `input_ids`, `labels` and `row`; on disk, not in memory."""
    report: SplitReport


def tokenized(
    spec: TrainingSpec,
    tokenizer: Any,
    split: str,
    source: str,
    table: Any,
    columns: tuple[str, str],
    limit: int | None,
) -> Split:
    text, summary = columns
    require_text(source, table, columns)
    if limit is not None:
        table = table.select(range(min(limit, len(table))))
    target_length = (
        spec.max_target_length if split == "train" else spec.longest_generation
    )
    # A fast tokenizer remembers its last truncation, and a cache is found by the hash
    # of all that it depends on: bring the tokenizer into one known state first.
    tokenizer("", truncation=True, max_length=target_length)
    try:
        with _shared_with_workers():
            rows = table.map(
                tokens_of,
                batched=True,
                with_indices=True,
                remove_columns=table.column_names,
                num_proc=spec.preprocessing_num_workers,
                load_from_cache_file=not spec.overwrite_cache,
                desc=f"Tokenizing {split} rows",
                fn_kwargs={
                    "tokenizer": tokenizer,
                    "text_column": text,
                    "summary_column": summary,
                    "prefix": spec.source_prefix,
                    "source_length": spec.max_source_length,
                    "target_length": target_length,
                },
            )
    except NulFound as found:  # in a CSV file, or in a dataset
        place = f"{source}: row {found.row + 1}"
        if Path(source).is_file():
            place = f"{source}:{line_of_row(Path(source), found.row)}"
        raise nul_error(place, found.column) from None
    except UnicodeDecodeError as error:  # in a dataset of JSON Lines
        raise InputError(f"{source}: cannot be read: {sentence_of(error)}") from error
    if len(rows) == 0:
        raise InputError(
            f"{source}: no usable row: {len(table)} read, and text ({text}) or "
            f"summary ({summary}) is missing or empty in each."
        )
    report = SplitReport(
        rows=len(rows),
        dropped=len(table) - len(rows),
        source=source,
        digest=_digest(rows),
    )
    return Split(rows.select_columns(["input_ids", "labels", "row"]), report)


def require_text(source: str, table: Any, columns: tuple[str, str]) -> None:
    """Raises `InputError` where a column holds something else."""
    for column in columns:
        dtype = getattr(table.features[column], "dtype", "list")
        if dtype not in ("string", "large_string", "null"):
            raise InputError(
                f"{source}: column {column} holds {dtype}, not text; it has: "
                f"{', '.join(table.column_names)}. Name two with --text_column and "
                "--summary_column."
            )


class NulFound(Exception):
    """A NUL character in a cell; raised where no file is known."""

    def __init__(self, row: int, column: str):
        super().__init__(row, column)
        self.row = row
        self.column = column


@contextmanager
def _shared_with_workers() -> Iterator[None]:
    """Processes that start in here share the memory of this one and keep it shared.

    A garbage collection writes to every object that it looks at, which would give each
    worker a copy of its own.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def tokens_of(
    columns: Mapping[str, Sequence[str | None]],
    numbers: Sequence[int],
    *,
    tokenizer: Any,
    text_column: str,
    summary_column: str,
    prefix: str,
    source_length: int,
    target_length: int,
) -> dict[str, list]:
    """Tokens of the rows that have a text and a summary, with their numbers."""
    for column in (text_column, summary_column):
        for number, cell in zip(numbers, columns[column], strict=True):
            if cell and "\0" in cell:
                raise NulFound(number, column)
    kept = [
        (number, text, summary)
        for number, text, summary in zip(
            numbers, columns[text_column], columns[summary_column], strict=True
        )
        if text and text.strip() and summary and summary.strip()
    ]
    if not kept:
        return {"row": [], "input_ids": [], "labels": [], "digest": []}
    rows, texts, summaries = zip(*kept, strict=True)
    inputs = tokenizer(
        [prefix + text for text in texts], max_length=source_length, truncation=True
    )["input_ids"]
    labels = tokenizer(
        text_target=list(summaries), max_length=target_length, truncation=True
    )["input_ids"]
    return {
        "row": list(rows),
        "input_ids": inputs,
        "labels": labels,
        "digest": list(map(_row_digest, inputs, labels)),
    }


def _row_digest(tokens: Sequence[int], labels: Sequence[int]) -> int:
    text = f"{list(tokens)}{list(labels)}".encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _digest(rows: Any) -> str:
    """SHA-256 over the digests of the rows: 8 bytes a row, straight from the disk."""
    total = hashlib.sha256()
    for chunk in rows.with_format("arrow").iter(batch_size=100_000):
        total.update(chunk["digest"].to_numpy().tobytes())
    return total.hexdigest()
