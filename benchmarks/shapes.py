"""What is trained: the sizes of models and batches, and rows of made-up tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import ModelShape
from fixtures.models import small_t5, tiny_t5
from fixtures.texts import ragged_rows

FIRST_PIECE = 3  # the tokens before it are T5's pad, end and unknown
SEED = 0
LENGTHS = ("full", "ragged")
ROWS = 4  # the batch of T5's guides


@dataclass(frozen=True)
class Shape:
    """A model and its batches; dropout is 0.1, as T5 ships."""

    name: str
    build: Callable[[Path], Path]
    """Writes the model into a folder; its weights come from a seed."""
    batch: int
    """Rows of an update on one device."""
    source: int
    target: int
    """The longest that rows may be, in tokens with their end token."""
    ragged_sources: tuple[int, int]
    ragged_targets: tuple[int, int]
    """Shortest and longest of ragged rows; between them all are equally likely."""
    new_tokens: int
    """Generated for each row: the end token is not allowed before."""

    @property
    def title(self) -> str:
        """Its name, with the rows of a batch where those are not the usual ones."""
        return self.name if self.batch == ROWS else f"{self.name}-of-{self.batch}"

    def with_batch(self, rows: int) -> Shape:
        """The same in batches of so many rows."""
        return replace(self, batch=rows)

    def lengths(self, ragged: bool, row: int) -> tuple[int, int]:
        """Of a row, in tokens; a function of the row alone."""
        if not ragged:
            return self.source, self.target
        chance = np.random.default_rng([SEED, row])
        source, target = (
            int(chance.integers(shortest, longest + 1))
            for shortest, longest in (self.ragged_sources, self.ragged_targets)
        )
        return source, target

    @property
    def settings(self) -> dict[str, Any]:
        """All that makes figures comparable, but for the flags of a run."""
        return {**asdict(self), "build": self.build.__name__, "seed": SEED}


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", tiny_t5, ROWS, 64, 32, (12, 38), (6, 16), 16),
        # Ragged as the abstracts and summaries of ACLSum are
        Shape("t5-small", small_t5, ROWS, 512, 128, (100, 300), (20, 60), 64),
    )
}


class MadeUpRows:
    """Tokenized rows as `reference_trainers.Rows` wants them, made when asked for."""

    def __init__(self, shape: Shape, ragged: bool, rows: int, pieces: int):
        self.shape = shape
        self.pieces = pieces
        """Of the tokenizer: tokens are drawn from them."""
        self.ragged = ragged
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, ids: Sequence[int]) -> dict[str, list[Any]]:
        sources, targets = zip(*map(self.row, ids), strict=True)
        return {"row": [*ids], "input_ids": [*sources], "labels": [*targets]}

    def row(self, row: int) -> tuple[list[int], list[int]]:
        """Token ids of a source and its target, each with an end token of 1."""
        chance = np.random.default_rng([SEED, row, 1])
        source, target = (
            chance.integers(FIRST_PIECE, self.pieces, length - 1).tolist()
            for length in self.shape.lengths(self.ragged, row)
        )
        return [*source, 1], [*target, 1]


def texts_of(
    tokenizer: Any, shape: Shape, ragged: bool, rows: int
) -> list[dict[str, str]]:
    """Rows of made-up words, about as long in tokens as `shape` says."""
    words = " ".join(row["text"].rstrip(".") for row in ragged_rows(400)).split()
    tokens = [len(ids) - 1 for ids in tokenizer(words)["input_ids"]]
    place = 0

    def text(length: int) -> str:
        nonlocal place
        first, left = place, length - 1
        while left > 0:
            left -= tokens[place % len(words)]
            place += 1
        return " ".join(words[at % len(words)] for at in range(first, place))

    lengths = [shape.lengths(ragged, row) for row in range(rows)]
    return [{"text": text(a), "summary": text(b)} for a, b in lengths]


def model_shape(config: Any) -> ModelShape:
    """The sizes in transformers' config of a T5."""
    return ModelShape(
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        num_decoder_layers=config.num_decoder_layers,
        vocab_size=config.vocab_size,
        is_gated=config.is_gated_act,
    )
