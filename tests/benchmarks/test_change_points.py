"""Steps that are there are found where they are; noise has none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.report.change_points import PENALTY, SHORTEST, change_points, noise


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_steps(seed):
    generator = np.random.default_rng(seed)
    draws = [generator.standard_normal(30), generator.standard_t(3, 30)]
    assert [change_points((0.01 * draw).tolist()) for draw in draws] == [[], []]


def test_steps_are_found_where_they_are():
    generator = np.random.default_rng(0)
    level = np.repeat([0.0, 0.10, 0.04], [12, 8, 15])
    values = level + generator.normal(0, 0.01, 35)
    assert change_points(values.tolist()) == [12, 20]


@pytest.mark.parametrize("count", range(2 * SHORTEST))
def test_few_values_have_no_steps(count):
    assert change_points([0.0, 9.0, 0.0, 9.0, 9.0][:count]) == []


def test_an_outlier_is_no_step():
    values = np.random.default_rng(1).normal(0, 0.01, 20)
    values[[3, 12]] += 0.5
    assert change_points(values.tolist()) == []


def test_without_noise_a_thousandth_is_nothing():
    assert change_points([0.0] * 5 + [0.0005] * 5) == []
    assert change_points([0.0] * 5 + [0.1] * 5) == [5]


def test_noise_is_the_mean_distance_and_a_step_is_none():
    values = np.random.default_rng(2).normal(0, 0.02, 4000)
    distance = np.abs(values).mean()
    assert noise(values.tolist()) == pytest.approx(distance, rel=0.05)
    values[2000:] += 5
    assert noise(values.tolist()) == pytest.approx(distance, rel=0.05)


def test_it_is_the_best_of_all_ways_to_cut():
    """Every set of cuts, one after the other, of short series."""
    generator = np.random.default_rng(4)
    ways = [
        (0, *cuts, 12)
        for count in range(4)
        for cuts in itertools.combinations(range(1, 12), count)
    ]
    ways = [way for way in ways if np.diff(way).min() >= SHORTEST]
    for _ in range(10):
        steps = np.repeat(generator.normal(0, 0.05, 3), 4)
        values = steps + generator.normal(0, 0.01, 12)
        costs = [cost(values, way) for way in ways]
        best = ways[int(np.argmin(costs))]
        assert change_points(values.tolist()) == list(best[1:-1])


def cost(values: np.ndarray, way: tuple[int, ...]) -> float:
    spread = 0.0
    for begin, end in itertools.pairwise(way):
        part = values[begin:end]
        spread += float(np.abs(part - np.median(part)).sum())
    penalty = PENALTY * math.log(len(values))
    return spread / noise(values.tolist()) + penalty * (len(way) - 2)
