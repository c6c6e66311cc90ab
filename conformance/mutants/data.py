"""Mutants that read a user's files otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import multiprocess  # type: ignore[import-untyped]

from conformance.mutants.planted import T5, planted
from reference_trainers import InputError, TrainingSpec

TOKENS = "reference_trainers.data.tokens.tokens_of"
Columns = Mapping[str, Sequence[str | None]]
Tokens = Callable[..., dict[str, list]]


def with_facts(**changes: Callable[[Any], Any]) -> Callable[[Tokens], Tokens]:
    """Makes tokens with some of the settings changed."""

    def fault(sound: Tokens) -> Tokens:
        def tokens(columns: Columns, numbers: Sequence[int], **facts: Any) -> Any:
            changed = {name: change(facts[name]) for name, change in changes.items()}
            return sound(columns, numbers, **facts | changed)

        return tokens

    return fault


strips_prefix = planted(TOKENS, caught_by=("files.prefix",))(
    with_facts(prefix=str.strip)
)
forgets_the_end_token = planted(TOKENS, caught_by=("truncation.target",))(
    with_facts(target_length=lambda length: length + 1)
)
counts_words = planted(TOKENS, caught_by=("truncation.source",))(
    with_facts(source_length=lambda length: max(length, 30))
)
reads_other_tokens = planted(TOKENS, caught_by=("trace.rows",), of=T5)(
    with_facts(prefix="summarize: ".__add__)
)


@planted(TOKENS, caught_by=("files.empty-rows",))
def keeps_empty_rows(sound: Tokens) -> Tokens:
    """Trains on rows that say nothing."""

    def tokens(columns: Columns, numbers: Sequence[int], **facts: Any) -> Any:
        filled = {
            name: [cell if cell and cell.strip() else "-" for cell in cells]
            for name, cells in columns.items()
        }
        return sound(filled, numbers, **facts)

    return tokens


@planted(TOKENS, caught_by=("files.workers",))
def each_worker_drops_a_row(sound: Tokens) -> Tokens:
    """Each worker leaves its last row out."""

    def tokens(columns: Columns, numbers: Sequence[int], **facts: Any) -> Any:
        if multiprocess.parent_process() is not None:
            columns = {name: cells[:-1] for name, cells in columns.items()}
            numbers = numbers[:-1]
        return sound(columns, numbers, **facts)

    return tokens


@planted("datasets.load_dataset", caught_by=("files.accepted", "files.any-text"))
def reads_na_as_nothing(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the text NA for a missing one, as pandas does if not told."""

    def load(*names: Any, **options: Any) -> Any:
        if "keep_default_na" in options:
            options["keep_default_na"] = True
        return sound(*names, **options)

    return load


@planted(
    "reference_trainers.data.columns.columns_of", caught_by=("files.first-two-columns",)
)
def knows_its_columns(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Without names it takes the second column for the text."""

    def columns(spec: TrainingSpec, *where: Any) -> Any:
        text, summary = sound(spec, *where)
        return (text, summary) if spec.text_column else (summary, text)

    return columns


@planted(
    "reference_trainers.data.columns.columns_of",
    caught_by=("files.named-columns", "files.any-columns", "input.missing-column"),
)
def ignores_the_names(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the first two columns, whatever it is told."""

    def columns(spec: TrainingSpec, *where: Any) -> Any:
        return sound(replace(spec, text_column=None, summary_column=None), *where)

    return columns


@planted(
    "reference_trainers.data.rows.wanted_splits",
    caught_by=("truncation.samples", "truncation.any-samples"),
)
def reads_all_rows(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts max_*_samples and ignores it."""
    return lambda spec: (replace(split, limit=None) for split in sound(spec))


@planted(
    "reference_trainers.data.rows._dataset_table", caught_by=("files.dataset-folder",)
)
def reads_backwards(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the rows of a dataset last first."""

    def table(*wanted: Any) -> Any:
        found = sound(*wanted)
        return found.select(range(len(found) - 1, -1, -1))

    return table


@planted(
    "reference_trainers.spec.TrainingSpec.longest_generation",
    caught_by=("truncation.evaluation",),
)
def judges_by_the_training_length(sound: property) -> property:
    """Accepts val_max_target_length and ignores it."""
    return property(lambda spec: spec.max_target_length)


@planted("reference_trainers.data.rows.tokenized", caught_by=("truncation.training",))
def trains_by_the_evaluation_length(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Cuts the summaries that it trains on by val_max_target_length."""

    def tokenized(spec: TrainingSpec, *rest: Any) -> Any:
        return sound(replace(spec, max_target_length=spec.longest_generation), *rest)

    return tokenized


@planted(
    "reference_trainers.data.batches.padded",
    caught_by=("files.padding", "generation.batch"),
)
def reads_the_padding(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Attends to the padding as to a text."""

    def padded(*rows: Any, **lengths: Any) -> Any:
        arrays = sound(*rows, **lengths)
        return arrays._replace(attention_mask=arrays.attention_mask * 0 + 1)

    return padded


@planted("reference_trainers.data.batches.padded", caught_by=("arithmetic.row-order",))
def repeats_a_text(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the last row of a batch the text of the first."""

    def padded(*rows: Any, **lengths: Any) -> Any:
        arrays = sound(*rows, **lengths)
        arrays.input_ids[-1] = arrays.input_ids[0]
        return arrays

    return padded


@planted("reference_trainers.data.rows.csv_error", caught_by=("input.bad-file",))
def forgets_the_line(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Says which file is bad, and not where."""
    return lambda path, error: InputError(f"{path}: cannot be read.")


@planted("datasets.load_dataset", caught_by=("files.any-shards",))
def reads_as_they_were_made(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the files of a split from the oldest to the newest."""

    def load(name: str, *rest: Any, **options: Any) -> Any:
        if not Path(name).is_dir():
            return sound(name, *rest, **options)
        made: dict[str, list[str]] = {}
        for file in sorted(Path(name).iterdir(), key=lambda file: file.stat().st_mtime):
            made.setdefault(file.name.partition("-")[0].split(".")[0], []).append(
                str(file)
            )
        return sound("json", data_files=made, **options)

    return load
