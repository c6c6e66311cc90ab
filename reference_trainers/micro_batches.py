"""The micro-batches of one update as four arrays, for compiled programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from reference_trainers.batches import NO_TARGET, Batch, pad_rows


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
