"""All that is random in a run, as hashes: nothing is drawn, carried along or saved.

The order of rows and the seed of a step are hashes of 64 bits. Which elements dropout
keeps is a hash of 32 bits of (seed, place in the model, coordinates): here is numpy's
definition of what the layers of each framework compute. Neither the framework, nor
padding, nor the number of devices changes the fate of an element.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / the golden ratio, as in SplitMix
FINALIZER = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # shift, multiply
LAST_FINAL_SHIFT = 31
ALL_BITS = (1 << 64) - 1
STEP = 0x9E3779B9  # 2**32 / the golden ratio, as in SplitMix
MIX = ((16, 0x7FEB352D), (15, 0x846CA68B))  # Wellons' lowbias32: shift, then multiply
LAST_SHIFT = 16
LEVELS = 1 << 16  # one hash of 32 bits serves two neighbours


def mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: uint64 -> well-mixed uint64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        for shift, factor in FINALIZER:
            value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(LAST_FINAL_SHIFT))


def fold(*numbers: int) -> int:
    """One well-mixed number of 64 bits that depends on all of them, and their order."""
    key = 0
    for number in numbers:  # as `mix` does: of one number, Python's own are faster
        key = (key + int(GOLDEN) + number) & ALL_BITS
        for shift, factor in FINALIZER:
            key = ((key ^ (key >> shift)) * factor) & ALL_BITS
        key ^= key >> LAST_FINAL_SHIFT
    return key


def dropout_seed(seed: int, step: int, micro_batch: int) -> int:
    """The seed of all that is random in one micro-batch of one step; 31 bits."""
    return fold(seed, step, micro_batch) >> 33


def dropped_levels(rate: float) -> int:
    """Hashes below it drop their element."""
    return round(rate * LEVELS)


def kept(shape: tuple[int, ...], seed: int, place: int, rate: float) -> np.ndarray:
    """Whether each element stays; bool, `shape`."""
    start = folded(np.array(seed, np.uint32), np.array(place, np.uint32))
    return kept_from(start, shape, dropped_levels(rate))


def kept_from(
    starts: np.ndarray, shape: tuple[int, ...], below: int, first_row: int = 0
) -> np.ndarray:
    """`kept` at many places, from their hashes: bool (*`starts`, *`shape`).

    `first_row` counts in the first axis of `shape`, for a part of a batch.
    """
    *outer, inner = shape
    value, first = starts, first_row
    for length in (*outer, (inner + 1) // 2):
        numbers = np.arange(first, first + length, dtype=np.uint32)
        value, first = folded(value[..., None], numbers), 0
    halves = value.astype("<u4").view("<u2").reshape(*value.shape[:-1], -1)
    return halves[..., :inner] >= below


def folded(value: np.ndarray, number: np.ndarray) -> np.ndarray:
    """One well-mixed uint32 that depends on both."""
    with np.errstate(over="ignore"):
        value = value + number * np.uint32(STEP)
        for shift, factor in MIX:
            value ^= value >> np.uint32(shift)
            value *= np.uint32(factor)
    value ^= value >> np.uint32(LAST_SHIFT)
    return value
