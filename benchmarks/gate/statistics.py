"""The gate's arithmetic: when is a benchmark slower, and when is it surely not.

What is sampled is the process, not the round: rounds of one process share its memory
layout, its clock and its neighbours, so they say little about the next process. Hence
one value a process (the median of its rounds), and a test over pairs of processes.

The test is Student's paired t on log(head seconds / base seconds). Both halves of a
pair have the same law where nothing changed, so the difference is symmetric about 0,
where t errs on the safe side for heavy tails (Efron, 1969, "Student's t-test under
symmetry conditions"); `simulation` measures it. A sign-flip permutation needs no more
than symmetry, but its smallest p is 2^-pairs: with 20 benchmarks, 6 pairs could never
tell a thing.

Several looks at growing data would each have their chance of a false alarm, so alpha
is spent over looks that are fixed beforehand: look k has the share a(k), and
a(1) + a(2) + ... = alpha. At each look Holm's procedure (1979) corrects for the number
of benchmarks at level a(k). By Boole's inequality the chance that a run calls any
unchanged benchmark slower is at most alpha, however looks and benchmarks depend on one
another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, ndtr, stdtr, stdtrit

REGRESSION, NO_REGRESSION, INCONCLUSIVE = "regression", "no regression", "inconclusive"
POWER = 0.8
CONFIDENCE = 0.95
QUANTILES = (np.arange(500) + 0.5) / 500


@dataclass(frozen=True)
class Rules:
    """What the gate promises; fixed before anything is measured."""

    alpha: float = 0.01
    """Chance that a run without a change reports any regression."""
    smallest: float = 0.03
    """Slowdown of interest: noise within one job is 0.3 to 3 %."""
    missed: float = 0.05
    """Chance, for each benchmark, that a slowdown of `smallest` passes for none."""
    looks: tuple[int, ...] = (6, 10, 16, 24)
    """Numbers of pairs; even, so that each version came first equally often."""
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    """Of alpha and of `missed`: late looks get more, as O'Brien and Fleming have it."""

    def level(self, look: int) -> float:
        """a(k): what look k may spend of alpha."""
        return self.alpha * self.shares[look]


@dataclass(frozen=True)
class Estimate:
    """Of log(head / base), from pairs."""

    mean: float
    spread: float
    """Standard deviation over pairs."""
    pairs: int

    @property
    def ratio(self) -> float:
        """Geometric mean of head / base: above 1 is slower."""
        return math.exp(self.mean)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.spread / math.sqrt(self.pairs)

    def p_slower(self) -> float:
        """One-sided: how likely is such a slowdown where there is none?"""
        if self.pairs < 2:
            return 1.0
        if self.spread == 0:  # t is no number: n fair coins, all alike
            return 0.5**self.pairs if self.mean > 0 else 1.0
        return float(stdtr(self.pairs - 1, -self.mean / self.error))

    def upper(self, level: float) -> float:
        """The slowdown is below this, but for a chance of `level`; as a log."""
        if self.pairs < 2:
            return math.inf
        return self.mean + float(stdtrit(self.pairs - 1, 1 - level)) * self.error

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Of the ratio, for this benchmark alone."""
        if self.pairs < 2:
            return 0.0, math.inf
        half = self.upper((1 - confidence) / 2) - self.mean
        return math.exp(self.mean - half), math.exp(self.mean + half)


def estimate(log_ratios: Sequence[float]) -> Estimate:
    spread = stdev(log_ratios) if len(log_ratios) > 1 else 0.0
    return Estimate(fmean(log_ratios), spread, len(log_ratios))


def holm(p_values: Mapping[str, float], alpha: float) -> set[str]:
    """The names that are rejected: the smallest p against alpha/m, the next against
    alpha/(m-1), and so on, up to the first that fails."""
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda name: p_values[name]):
        if p_values[name] > alpha / (len(p_values) - len(rejected)):
            break
        rejected.add(name)
    return rejected


def judge(
    estimates: Mapping[str, Estimate],
    before: Mapping[str, str],
    look: int,
    rules: Rules,
) -> dict[str, str]:
    """A verdict for each benchmark at a look; those given `before` stand.

    A regression is a slowdown that is there by Holm's test, and of interest by the best
    estimate. No regression: by its upper bound it is smaller than what is of interest.
    A benchmark that was acquitted stays in Holm's family with p = 1: who leaves depends
    on the data, and a smaller family would be easier to reject. One that was convicted
    leaves it, as in Holm's own steps.
    """
    of_interest = math.log1p(rules.smallest)
    p_values = {
        name: found.p_slower()
        if name not in before and found.mean >= of_interest
        else 1.0
        for name, found in estimates.items()
        if before.get(name) != REGRESSION
    }
    slower = holm(p_values, rules.level(look))
    verdicts: dict[str, str] = {}
    for name, found in estimates.items():
        bound = found.upper(rules.missed * rules.shares[look])
        verdicts[name] = INCONCLUSIVE
        if name in before:
            verdicts[name] = before[name]
        elif name in slower:
            verdicts[name] = REGRESSION
        elif bound < of_interest:
            verdicts[name] = NO_REGRESSION
    return verdicts


def smallest_seen(
    found: Estimate, benchmarks: int, look: int, rules: Rules
) -> float | None:
    """The smallest slowdown (0.04: 4 %) that would have been called a regression at
    this look with 80 % power, given this spread; None: no slowdown would have been.

    At the level of Holm's first step, a(k) / benchmarks.
    """
    if found.pairs < 2:
        return None
    level = rules.level(look) / benchmarks
    of_interest = math.log1p(rules.smallest)
    if found.spread == 0:
        return rules.smallest if 0.5**found.pairs <= level else None
    top = of_interest + found.error
    while power(top, found, level, of_interest) < POWER:
        top *= 2
    seen = brentq(
        lambda slowdown: power(slowdown, found, level, of_interest) - POWER, 0, top
    )
    return math.expm1(seen)


def power(slowdown: float, found: Estimate, level: float, of_interest: float) -> float:
    """The chance that t is beyond its critical value and the mean is of interest, where
    the true mean is `slowdown`.

    Given the spread that a run happens to see, both say that the mean, which is normal,
    is beyond a bound. The square of that spread has a chi-squared distribution: the
    mean over its quantiles is the integral. With `of_interest` at minus infinity this
    is the noncentral t distribution.
    """
    freedom = found.pairs - 1
    critical = float(stdtrit(freedom, 1 - level))
    seen = found.error * np.sqrt(chdtri(freedom, QUANTILES) / freedom)
    bound = np.maximum(critical * seen, of_interest)
    return float(np.mean(ndtr((slowdown - bound) / found.error)))
