"""Which columns hold text and summary, and what old names of datasets mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reference_trainers.data.diagnosis import csv_header
from reference_trainers.data.files import Wanted, format_of, wanted_splits
from reference_trainers.data.json_rows import json_columns
from reference_trainers.errors import InputError
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


def columns_of(
    spec: TrainingSpec,
    source: str,
    names: Sequence[str],
    before: tuple[str, str] | None = None,
) -> tuple[str, str]:
    """Text and summary column: named, else known for the dataset, else the first two.

    `before`: those of the run's first split, which hold for all. Raises `InputError`
    that lists the columns where one is missing.
    """
    if any("\0" in name for name in names):
        raise InputError(
            f"{source}: the name of a column holds a NUL character. Take it out."
        )
    short = {full: old for old, full in PRESENT_NAMES.items()}.get(source, source)
    known = KNOWN_COLUMNS.get(short)
    if known is None or not set(known) <= set(names):
        known = (names[0], names[1] if len(names) > 1 else names[0])
    known = before or known
    text = spec.text_column or known[0]
    summary = spec.summary_column or known[1]
    for flag, column in (("text_column", text), ("summary_column", summary)):
        if column not in names:
            raise InputError(
                f"--{flag} {column}: no such column in {source}; "
                f"it has: {', '.join(names)}."
            )
    if len(names) == 1:
        other = " Columns are separated by commas." * (";" in names[0])
        raise InputError(
            f"{source}: has one column ({names[0]}), and two are needed: a text and "
            f"its summary.{other}"
        )
    if text == summary:
        raise InputError(
            f"{source}: text and summary are both column {text!r}; it has: "
            f"{', '.join(names)}. Name two with --text_column and --summary_column."
        )
    return text, summary


def check_columns(spec: TrainingSpec) -> None:
    """Raises `InputError` where a file lacks a column; imports no library for it."""
    columns = None
    for wanted in wanted_splits(spec):
        if wanted.file is not None:
            columns = columns_of_file(spec, wanted, wanted.file, columns)


def columns_of_file(
    spec: TrainingSpec, wanted: Wanted, file: str, before: tuple[str, str] | None
) -> tuple[str, str]:
    """`columns_of` the file of a split."""
    path = Path(file)
    if format_of(path, wanted.flag) == "csv":
        names = csv_header(path)
    else:
        asked = before or (spec.text_column, spec.summary_column)
        named = [name for name in asked if name is not None]
        names = json_columns(path, wanted.limit, named)
    return columns_of(spec, file, names, before)
