"""Rows -> padded numpy batches, labels, decoder inputs and token counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from reference_trainers.recipe.plan import Padding, Plan
from reference_trainers.recipe.sampling import rows_at

NO_TARGET = -100  # the label that no loss counts: torch's cross entropy skips it


class Rows(Protocol):
    """Tokenized rows of one split: ``rows[ids]`` gives columns of lists."""

    def __len__(self) -> int: ...

    def __getitem__(self, ids: Sequence[int]) -> Mapping[str, Sequence]: ...


@dataclass(frozen=True)
class Batch:
    """One micro-batch; int32 arrays."""

    input_ids: np.ndarray
    """(batch, source)"""
    attention_mask: np.ndarray
    """(batch, source): 1 at a token, 0 at padding."""
    decoder_input_ids: np.ndarray
    """(batch, target): the labels, shifted right by one."""
    labels: np.ndarray
    """(batch, target): the next token, or -100 where there is no target."""

    @property
    def target_tokens(self) -> int:
        return int((self.labels != NO_TARGET).sum())


@dataclass(frozen=True)
class GlobalBatch:
    """The rows of one update, as the micro-batches that a device holds at a time."""

    step: int
    row_ids: np.ndarray
    """int64: numbers of the rows in their file, from 0."""
    micro_batches: tuple[Batch, ...]

    @property
    def target_tokens(self) -> int:
        return sum(batch.target_tokens for batch in self.micro_batches)


def global_batch(rows: Rows, plan: Plan, step: int) -> GlobalBatch:
    """The rows of `step`: a pure function of it, so a run can go on from anywhere."""
    epoch, index = divmod(step, plan.steps_per_epoch)
    first = index * plan.global_batch
    positions = np.arange(first, first + plan.rows_of(step))
    ids = rows_at(plan.seed, epoch, plan.rows, positions)
    columns = rows[ids.tolist()]
    # Pads that count as targets reach to the longest summary of the whole update, so
    # that how it is cut into micro-batches changes nothing.
    longest = max(map(len, columns["labels"]))
    parts = range(0, len(ids), plan.micro_batch)
    return GlobalBatch(
        step=step,
        row_ids=np.asarray(columns["row"], np.int64),
        micro_batches=tuple(
            padded(
                columns["input_ids"][part : part + plan.micro_batch],
                columns["labels"][part : part + plan.micro_batch],
                plan.padding,
                longest,
            )
            for part in parts
        ),
    )


def eval_batches(
    rows: Rows, size: int, padding: Padding
) -> Iterator[tuple[np.ndarray, Batch]]:
    """All rows in the order of their file, with their numbers in it."""
    for first in range(0, len(rows), size):
        columns = rows[list(range(first, min(first + size, len(rows))))]
        longest = max(map(len, columns["labels"]))
        yield (
            np.asarray(columns["row"], np.int64),
            padded(columns["input_ids"], columns["labels"], padding, longest),
        )


def padded(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    padding: Padding,
    longest_target: int,
) -> Batch:
    """Rectangles of the longest source and target, or of the lengths asked for."""
    source = rounded_up(
        padding.source_length or max(map(len, sources)), padding.multiple_of
    )
    counted = padding.target_length or longest_target
    if not padding.pads_are_targets:
        longest_target = max(map(len, targets))
    target = rounded_up(padding.target_length or longest_target, padding.multiple_of)
    input_ids = np.full((len(sources), source), padding.pad_token_id, np.int32)
    attention_mask = np.zeros((len(sources), source), np.int32)
    labels = np.full((len(targets), target), NO_TARGET, np.int32)
    if padding.pads_are_targets:
        labels[:, :counted] = padding.pad_token_id
    for row, (tokens, summary) in enumerate(zip(sources, targets, strict=True)):
        input_ids[row, : len(tokens)] = tokens
        attention_mask[row, : len(tokens)] = 1
        labels[row, : len(summary)] = summary
    return Batch(input_ids, attention_mask, shift_right(labels, padding), labels)


def rounded_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def shift_right(labels: np.ndarray, padding: Padding) -> np.ndarray:
    """Decoder inputs of labels (transformers' `shift_tokens_right`)."""
    shifted = np.empty_like(labels)
    shifted[:, 0] = padding.decoder_start_token_id
    shifted[:, 1:] = labels[:, :-1]
    return np.where(shifted == NO_TARGET, padding.pad_token_id, shifted)


def pad_rows(batch: Batch, rows: int) -> Batch:
    """`batch` with empty rows up to `rows`: no token, no target, no part in a number.

    For frameworks that compile a program for each shape.
    """
    missing = rows - len(batch.input_ids)
    if missing <= 0:
        return batch

    def extended(array: np.ndarray, value: int) -> np.ndarray:
        return np.pad(array, ((0, missing), (0, 0)), constant_values=value)

    return Batch(
        extended(batch.input_ids, 0),
        extended(batch.attention_mask, 0),
        extended(batch.decoder_input_ids, 0),
        extended(batch.labels, NO_TARGET),
    )


class Arrays(NamedTuple):
    """A `Batch` whose arrays may be a framework's; a leading axis counts batches."""

    input_ids: Any
    attention_mask: Any
    decoder_input_ids: Any
    labels: Any


PADDING = Arrays(0, 0, 0, NO_TARGET)


def arrays(batch: Batch, rows: int) -> Arrays:
    """A batch of `rows` rows, empty ones added; each (rows, length)."""
    padded = pad_rows(batch, rows)
    return Arrays(*(getattr(padded, name) for name in Arrays._fields))


def stacked(micro_batches: Sequence[Batch], rows: int) -> Arrays:
    """Micro-batches behind one another; each (micro-batches, rows, longest length)."""
    parts = [arrays(batch, rows) for batch in micro_batches]
    return Arrays(*map(_one_array, zip(*parts, strict=True), PADDING))


def _one_array(parts: Sequence[np.ndarray], value: int) -> np.ndarray:
    longest = max(part.shape[1] for part in parts)
    shape = (len(parts), len(parts[0]), longest)
    whole = np.full(shape, value, np.int32)
    for place, part in enumerate(parts):
        whole[place, :, : part.shape[1]] = part
    return whole
