"""Which rows, in which order: pure functions of (seed, epoch, position).

The order of an epoch is a pseudo-random permutation that is computed position by
position (a Feistel network with cycle walking, as in format-preserving encryption:
Black and Rogaway, 2002). Nothing is stored and nothing is walked through, so the order
cannot depend on the framework, the number of devices or workers, or where a run
resumes.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 8  # 4 make a strong pseudo-random permutation; small sets want more mixing
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(value: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: uint64 -> well-mixed uint64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def fold(*numbers: int) -> np.uint64:
    """One well-mixed uint64 that depends on every number and on their order."""
    key = np.zeros(1, np.uint64)
    for number in numbers:
        with np.errstate(over="ignore"):
            key = mix(key + GOLDEN + np.uint64(number & 0xFFFFFFFFFFFFFFFF))
    return key[0]


def rows_at(seed: int, epoch: int, rows: int, positions: np.ndarray) -> np.ndarray:
    """The rows at `positions` of an epoch; int64, same shape.

    Over positions 0 .. rows - 1 each row comes exactly once.
    """
    half = np.uint64(max(1, (max(rows - 1, 1).bit_length() + 1) // 2))
    keys = [fold(seed, epoch, round_) for round_ in range(ROUNDS)]
    at = np.asarray(positions, np.uint64).copy()
    outside = np.ones(at.shape, bool)
    while outside.any():  # the network's domain is a power of 4: walk until inside
        at[outside] = _feistel(at[outside], half, keys)
        outside = at >= rows
    return at.astype(np.int64)


def _feistel(value: np.ndarray, half: np.uint64, keys: list[np.uint64]) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = value >> half, value & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << half) | right


def dropout_seed(seed: int, step: int, micro_batch: int) -> int:
    """The seed of all that is random in one micro-batch of one step; 31 bits."""
    return int(fold(seed, step, micro_batch) >> np.uint64(33))
