"""Which rows, in which order: pure functions of (seed, epoch, position).

The order of an epoch is a pseudo-random permutation that is computed position by
position (a Feistel network with cycle walking, as in format-preserving encryption:
Black and Rogaway, 2002). Nothing is stored and nothing is walked through, so the order
cannot depend on the framework, the number of devices or workers, or where a run
resumes.
"""

from __future__ import annotations

import numpy as np

from reference_trainers.recipe.randomness import fold, mix

ROUNDS = 8  # 4 make a strong pseudo-random permutation; small sets want more mixing


def rows_at(seed: int, epoch: int, rows: int, positions: np.ndarray) -> np.ndarray:
    """The rows at `positions` of an epoch; int64, same shape.

    Over positions 0 .. rows - 1 each row comes exactly once.
    """
    half = np.uint64(max(1, (max(rows - 1, 1).bit_length() + 1) // 2))
    keys = [np.uint64(fold(seed, epoch, round_)) for round_ in range(ROUNDS)]
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
