"""The order of rows: a permutation of (seed, epoch), one position at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from reference_trainers.recipe.randomness import dropout_seed, fold
from reference_trainers.recipe.sampling import rows_at

SIZES = [*range(1, 70), 127, 128, 129, 255, 256, 257, 1000, 4095, 4096, 4097, 100_003]


def order(seed, epoch, rows):
    return rows_at(seed, epoch, rows, np.arange(rows))


@pytest.mark.parametrize("rows", SIZES)
def test_every_row_comes_once(rows):
    for epoch in range(3):
        assert np.array_equal(np.sort(order(42, epoch, rows)), np.arange(rows))


@pytest.mark.parametrize("rows", [1, 2, 5, 64, 65, 1000])
def test_one_position_is_that_of_the_whole(rows):
    whole = order(3, 1, rows)
    alone = [int(rows_at(3, 1, rows, np.array([k]))[0]) for k in range(rows)]
    assert whole.tolist() == alone
    backwards = rows_at(3, 1, rows, np.arange(rows)[::-1])
    assert backwards.tolist() == alone[::-1]


def test_shape_is_kept_and_positions_too():
    positions = np.arange(6).reshape(2, 3)
    found = rows_at(0, 0, 10, positions)
    assert found.shape == (2, 3) and found.dtype == np.int64
    assert np.array_equal(positions, np.arange(6).reshape(2, 3))
    assert rows_at(0, 0, 10, np.array([], int)).tolist() == []


def test_golden_values():
    """A change here changes what every spec means: raise the major version for it."""
    assert order(42, 0, 10).tolist() == [6, 5, 8, 4, 9, 2, 7, 3, 1, 0]
    assert order(42, 1, 10).tolist() == [4, 1, 3, 6, 2, 9, 7, 5, 8, 0]
    assert order(-1, 3, 7).tolist() == [0, 6, 4, 3, 1, 2, 5]
    far = np.array([0, 1, 999_999])
    assert rows_at(0, 0, 1_000_000, far).tolist() == [246825, 365914, 30216]
    assert fold(1, 2, 3) == 0x6AE515C1C0AC7E37
    assert dropout_seed(42, 0, 0) == 831020930
    assert dropout_seed(42, 7, 3) == 940284709


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {
        tuple(order(seed, epoch, 50)) for seed in range(20) for epoch in range(20)
    }
    assert len(orders) == 400
    assert tuple(order(0, 1, 50)) != tuple(order(1, 0, 50))


def test_a_set_far_too_large_to_walk_through():
    rows = 10**12
    found = rows_at(1, 0, rows, np.array([0, 1, rows - 1]))
    assert len(set(found.tolist())) == 3 and (found >= 0).all() and (found < rows).all()


@pytest.mark.parametrize("rows", [2, 3, 5, 7, 16])
def test_every_row_is_as_likely_everywhere(rows):
    """Chi-squared over (position, row), 1000 epochs; five standard deviations."""
    epochs = 1000
    counts = np.zeros((rows, rows))
    for epoch in range(epochs):
        counts[np.arange(rows), order(42, epoch, rows)] += 1
    expected = epochs / rows
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    freedom = (rows - 1) ** 2
    assert chi_squared < freedom + 5 * (2 * freedom) ** 0.5


def test_every_order_of_three_rows_is_as_likely():
    """Chi-squared over the six orders, 1200 seeds; 5 degrees of freedom, p 1e-5."""
    counts = Counter(tuple(order(seed, 0, 3)) for seed in range(1200))
    assert len(counts) == 6
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 30.9


def test_dropout_seeds_differ():
    seeds = {
        dropout_seed(seed, step, micro)
        for seed in range(4)
        for step in range(100)
        for micro in range(4)
    }
    assert len(seeds) == 1600
    assert all(0 <= seed < 2**31 for seed in seeds)
