"""Where a series has changed its level: steps that are more than noise.

The L1 Potts functional, as asv has it: of all ways to cut a series into levels, the one
with the smallest

    sum of |value - median of its level| / noise + penalty * (levels - 1)

The absolute value lets no single outlier pull a level. An exact dynamic programme over
the last cut (optimal partitioning: Jackson et al., 2005, IEEE Signal Processing Letters
12) takes n^2 medians, which is little for a history of some hundred runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

SHORTEST = 3  # values of a level: so that one outlier is never its median
PENALTY = 3.0  # times log n: with 1 (BIC), a quarter of flat series has a step
LEAST_NOISE = 1e-3  # of logs: less than a thousandth is nothing anyone asks for


def change_points(values: Sequence[float]) -> list[int]:
    """The indices at which a new level begins; `values` are logs, in order of time."""
    count = len(values)
    if count < 2 * SHORTEST:
        return []
    scale = noise(values)
    penalty = PENALTY * math.log(count)
    best = [0.0] + [math.inf] * count  # of the first n values
    cut = [0] * (count + 1)
    for end in range(SHORTEST, count + 1):
        for start in range(end - SHORTEST + 1):
            if math.isinf(best[start]):
                continue
            cost = best[start] + _cost(values[start:end]) / scale
            cost += penalty if start else 0.0
            if cost < best[end]:
                best[end], cut[end] = cost, start
    found = []
    end = count
    while end:
        end = cut[end]
        if end:
            found.append(end)
    return found[::-1]


def noise(values: Sequence[float]) -> float:
    """Mean distance from the level, of normal noise, as neighbours tell it: a step is
    the difference of one pair of them alone, and a median passes over it.

    Of two normal values the difference has sqrt(2) times their spread and a median of
    0.6745 times its own; the mean distance is sqrt(2 / pi) times the spread.
    """
    steps = [abs(b - a) for a, b in pairwise(values)]
    spread = median(steps) / (0.6745 * math.sqrt(2))
    return max(LEAST_NOISE, spread * math.sqrt(2 / math.pi))


def _cost(values: Sequence[float]) -> float:
    middle = median(values)
    return sum(abs(value - middle) for value in values)
