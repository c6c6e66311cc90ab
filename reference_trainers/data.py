"""Rows from a dataset name, CSV or JSON Lines -> truncated, checked, tokenized."""

from __future__ import annotations

import gc
import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets

from reference_trainers.data_errors import (
    check_dropped,
    csv_header,
    explained,
    json_field,
    not_text,
)
from reference_trainers.errors import InputError
from reference_trainers.results import SplitReport
from reference_trainers.spec import TrainingSpec

# Old names of datasets, from before every name had an owner -> present ones
PRESENT_NAMES = {
    "amazon_reviews_multi": "mteb/amazon_reviews_multi",
    "big_patent": "NortheasternUniversity/big_patent",
    "cnn_dailymail": "abisee/cnn_dailymail",
    "multi_news": "alexfabbri/multi_news",
    "orange_sum": "EdinburghNLP/orange_sum",
    "reddit_tifu": "ctr4si/reddit_tifu",
    "samsum": "knkarthick/samsum",
    "xsum": "EdinburghNLP/xsum",
}
# Text and summary of the usual datasets (transformers' summarization_name_mapping)
KNOWN_COLUMNS = {
    "amazon_reviews_multi": ("review_body", "review_title"),
    "big_patent": ("description", "abstract"),
    "cnn_dailymail": ("article", "highlights"),
    "multi_news": ("document", "summary"),
    "orange_sum": ("text", "summary"),
    "pn_summary": ("article", "summary"),
    "psc": ("extract_text", "summary_text"),
    "reddit_tifu": ("documents", "tldr"),
    "samsum": ("dialogue", "summary"),
    "thaisum": ("body", "summary"),
    "wiki_summary": ("article", "highlights"),
    "xglue": ("news_body", "news_title"),
    "xsum": ("document", "summary"),
}
COMPRESSIONS = (".gz", ".bz2", ".xz")
FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json"}
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The usable rows of one split, in the order of their file."""

    rows: Any
    """datasets.Dataset with `input_ids`, `labels` and `row`; on disk, not in memory."""
    report: SplitReport


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
            splits[name] = _tokenized(spec, tokenizer, name, source, table, limit)
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


def columns_of(
    spec: TrainingSpec, source: str, names: Sequence[str]
) -> tuple[str, str]:
    """Text and summary column: named, else known for the dataset, else the first two.

    Raises `InputError` that lists the columns where one is missing.
    """
    short = {full: old for old, full in PRESENT_NAMES.items()}.get(source, source)
    known = KNOWN_COLUMNS.get(short)
    if known is None or not set(known) <= set(names):
        known = (names[0], names[1] if len(names) > 1 else names[0])
    text = spec.text_column or known[0]
    summary = spec.summary_column or known[1]
    for flag, column in (("text_column", text), ("summary_column", summary)):
        if column not in names:
            raise InputError(
                f"--{flag} {column}: no such column in {source}; "
                f"it has: {', '.join(names)}."
            )
    if text == summary:
        raise InputError(
            f"{source}: text and summary are both column {text!r}; it has: "
            f"{', '.join(names)}. Name two with --text_column and --summary_column."
        )
    return text, summary


def _tokenized(
    spec: TrainingSpec,
    tokenizer: Any,
    split: str,
    source: str,
    table: Any,
    limit: int | None,
) -> Split:
    text, summary = columns_of(spec, source, table.column_names)
    for column in (text, summary):
        kind = getattr(table.features[column], "dtype", "list")
        if kind not in ("string", "large_string", "null"):
            raise not_text(source, column, kind)
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
    except UnicodeDecodeError as error:  # JSON's reader does not look into its strings
        raise explained(Path(source), "json", error) from error
    if len(rows) < len(table):
        check_dropped(source)
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
