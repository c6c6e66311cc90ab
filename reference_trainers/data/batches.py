"""Rows -> batches: rectangles of tokens, padded once, that carry all a step needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from reference_trainers.recipe.plan import Padding, Plan
from reference_trainers.recipe.randomness import dropout_seed
from reference_trainers.recipe.sampling import rows_at
from reference_trainers.world import World

WINDOW = 64  # batches of an evaluation that are sorted by length at a time
NO_TARGET = -100  # the label that no loss counts: torch's cross entropy skips it


class Rows(Protocol):
    """Tokenized rows of one split: ``rows[ids]`` gives columns of lists."""

    def __len__(self) -> int: ...

    def __getitem__(self, ids: Sequence[int]) -> Mapping[str, Sequence]: ...


class Arrays(NamedTuple):
    """The four arrays of a batch, numpy's or a framework's; int32."""

    input_ids: Any
    """(batch, source)"""
    attention_mask: Any
    """(batch, source): 1 at a token, 0 at padding."""
    decoder_input_ids: Any
    """(batch, target): the labels, shifted right by one."""
    labels: Any
    """(batch, target): the next token, or -100 where there is no target."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch, or a batch to evaluate."""

    arrays: Arrays
    rows: int
    """Rows that are there; those behind them are empty: no token and no target."""
    seed: int = 0
    """What is random in a step is a hash of it; 31 bits (recipe/randomness.py)."""

    @property
    def target_tokens(self) -> int:
        return int((self.arrays.labels != NO_TARGET).sum())


@dataclass(frozen=True)
class GlobalBatch:
    """The rows of one update, as the micro-batches that devices hold at a time."""

    step: int
    row_ids: np.ndarray
    """int64: numbers of the rows in their file, from 0."""
    micro_batches: tuple[Batch, ...]
    target_tokens: int
    """Of the whole update, whatever part of it this is: the loss divides by it."""
    whole: int
    """Rows of a micro-batch that is not short."""

    @property
    def seeds(self) -> np.ndarray:
        """int32 (micro-batches,)"""
        return np.array([batch.seed for batch in self.micro_batches], np.int32)

    def stacked(self) -> Arrays:
        """Uniform micro-batches as four arrays (micro-batches, rows, length)."""
        parts = zip(*(batch.arrays for batch in self.micro_batches), strict=True)
        return Arrays(*map(np.stack, parts))

    def share(self, world: World) -> GlobalBatch:
        """The rows of one process.

        `row_ids` and `target_tokens` stay those of the whole, so that losses and
        gradients of all processes add up to the whole update's.
        """
        if world.size == 1:
            return self
        # As accumulation cuts them, in a short micro-batch too
        rows = rounded_up(self.whole, world.size) // world.size
        parts = tuple(part_of(batch, world, rows) for batch in self.micro_batches)
        return replace(self, micro_batches=parts)


def global_batch(rows: Rows, plan: Plan, step: int) -> GlobalBatch:
    """The rows of `step`: a pure function of it, so a run can resume anywhere."""
    epoch, index = divmod(step, plan.steps_per_epoch)
    first = index * plan.global_batch
    positions = np.arange(first, first + plan.rows_of(step))
    ids = rows_at(plan.seed, epoch, plan.rows, positions)
    columns = rows[ids.tolist()]
    sources, targets = columns["input_ids"], columns["labels"]
    size, padding = plan.micro_batch, plan.padding
    micro_batches: list[Batch] = []
    for at in range(0, len(ids), size):
        part = slice(at, at + size)
        # Pads that count as targets reach to the longest summary of the whole update,
        # so that how it is cut into micro-batches changes nothing.
        whole_targets = padding.uniform or padding.pads_are_targets
        arrays = padded(
            sources[part],
            targets[part],
            padding,
            longest_source=longest(sources if padding.uniform else sources[part]),
            longest_target=longest(targets if whole_targets else targets[part]),
            rows=size,
        )
        seed = dropout_seed(plan.seed, step, len(micro_batches))
        micro_batches.append(Batch(arrays, len(sources[part]), seed))
    return GlobalBatch(
        step=step,
        row_ids=np.asarray(columns["row"], np.int64),
        micro_batches=tuple(micro_batches),
        target_tokens=sum(batch.target_tokens for batch in micro_batches),
        whole=size,
    )


def eval_batches(
    rows: Rows, size: int, padding: Padding
) -> Iterator[tuple[np.ndarray, Batch]]:
    """All rows, with their numbers in their file; those of a length together.

    The longest of a window come first: what does not fit into memory shows at once.
    """
    window = size * WINDOW
    parts = [
        list(range(at, min(at + window, len(rows))))
        for at in range(0, len(rows), window)
    ]
    whole = 0
    if padding.pads_are_targets:  # so that how the split is cut changes nothing
        whole = max(longest(rows[part]["labels"]) for part in parts)
    for part in parts:
        columns = rows[part]
        by_length = sorted(
            range(len(part)), key=lambda at: -len(columns["input_ids"][at])
        )
        for first in range(0, len(part), size):
            chosen = by_length[first : first + size]
            numbers, sources, targets = (
                [columns[name][at] for at in chosen]
                for name in ("row", "input_ids", "labels")
            )
            length = whole or longest(targets)
            arrays = padded(sources, targets, padding, longest(sources), length, size)
            yield np.asarray(numbers, np.int64), Batch(arrays, len(sources))


def longest(rows: Sequence[Sequence[int]]) -> int:
    return max(map(len, rows))


def padded(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    padding: Padding,
    longest_source: int,
    longest_target: int,
    rows: int,
) -> Arrays:
    """Rectangles of these lengths, or of those asked for; of `rows` rows if uniform."""
    rows = rows if padding.uniform else len(sources)
    counted = padding.target_length or longest_target
    source = rounded_up(padding.source_length or longest_source, padding.multiple_of)
    target = rounded_up(counted, padding.multiple_of)
    input_ids = np.full((rows, source), padding.pad_token_id, np.int32)
    attention_mask = np.zeros((rows, source), np.int32)
    labels = np.full((rows, target), NO_TARGET, np.int32)
    if padding.pads_are_targets:
        labels[: len(targets), :counted] = padding.pad_token_id
    for row, (tokens, summary) in enumerate(zip(sources, targets, strict=True)):
        input_ids[row, : len(tokens)] = tokens
        attention_mask[row, : len(tokens)] = 1
        labels[row, : len(summary)] = summary
    return Arrays(input_ids, attention_mask, shift_right(labels, padding), labels)


def rounded_up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def shift_right(labels: np.ndarray, padding: Padding) -> np.ndarray:
    """Decoder inputs of labels (transformers' `shift_tokens_right`)."""
    shifted = np.empty_like(labels)
    shifted[:, 0] = padding.decoder_start_token_id
    shifted[:, 1:] = labels[:, :-1]
    return np.where(shifted == NO_TARGET, padding.pad_token_id, shifted)


def part_of(batch: Batch, world: World, rows: int | None = None) -> Batch:
    """Its rows of `world.rank`, `rows` of them or an equal share; as many empty ones
    where none is left for it."""
    if rows is None:
        rows = rounded_up(len(batch.arrays.labels), world.size) // world.size
    first = world.rank * rows
    if first < len(batch.arrays.labels):
        cut = Arrays(*(array[first : first + rows] for array in batch.arrays))
    else:  # it takes part all the same: the others wait for its gradient
        empty = (array[:1].repeat(rows, axis=0) for array in batch.arrays)
        cut = Arrays(*map(np.zeros_like, empty))
        mask = np.zeros_like(cut.attention_mask)
        mask[:, 0] = 1  # attention to nothing at all would not be a number
        labels = np.full_like(cut.labels, NO_TARGET)
        cut = cut._replace(attention_mask=mask, labels=labels)
    there = min(max(batch.rows - first, 0), len(cut.labels))
    return replace(batch, arrays=cut, rows=there)
