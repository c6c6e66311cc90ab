"""The gate's error rates, measured: how often does it cry wolf, how much does it find?

A simulated process takes exp(process noise) times as long as the benchmark; each of its
rounds has noise of its own, and the gate sees the median. The gate's own `judge`
decides, look by look, just as it does for real processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from benchmarks.gate.statistics import (
    INCONCLUSIVE,
    REGRESSION,
    Rules,
    estimate,
    judge,
)

ROUNDS = 5  # of a process
BENCHMARKS = 20  # of a run
SLOWDOWNS = (0.05, 0.10, 0.20)
KINDS = ("gaussian", "heavy tails", "two speeds")
SLOW_SHARE = 0.2  # of the processes with two speeds


@dataclass(frozen=True)
class Noise:
    """Standard deviations: 0.01 is 1 %."""

    place: str
    between: float
    """Of processes."""
    within: float
    """Of the rounds of a process."""


NOISES = (
    Noise("hosted CI", 0.0266, 0.005),
    Noise("a shared machine", 0.01, 0.01),
    Noise("a quiet machine", 0.003, 0.01),
)


@dataclass(frozen=True)
class Rates:
    """What became of simulated runs, each with several benchmarks."""

    kind: str
    noise: Noise
    slowdown: float
    """Of the first benchmark; 0: nothing changed."""
    runs: int
    false_alarms: int
    """Runs that called any unchanged benchmark slower."""
    found: int
    """Runs that called the slow benchmark slower."""
    undecided: int
    """Runs in which the first benchmark was inconclusive."""
    pairs: float
    """On average, until the first benchmark was decided."""

    def within(self, alpha: float) -> bool:
        """False: so many false alarms have a chance below 1 % if alpha holds."""
        if not self.false_alarms:
            return True
        test = binomtest(self.false_alarms, self.runs, alpha, alternative="greater")
        return bool(test.pvalue >= 0.01)


def draw(
    generator: np.random.Generator, kind: str, shape: tuple[int, ...]
) -> np.ndarray:
    """Process noise with a standard deviation of 1."""
    if kind == "gaussian":
        return generator.standard_normal(shape)
    if kind == "heavy tails":  # Student's t with 3 degrees of freedom: variance 3
        return generator.standard_t(3, shape) / math.sqrt(3)
    # A fifth of the processes has bad luck, say with its memory layout; the rest of
    # the noise is a tenth of it
    slow = generator.random(shape) < SLOW_SHARE
    apart = slow / math.sqrt(SLOW_SHARE * (1 - SLOW_SHARE))
    return 0.995 * apart + 0.1 * generator.standard_normal(shape)


def log_ratios(
    generator: np.random.Generator, kind: str, noise: Noise, benchmarks: int, pairs: int
) -> np.ndarray:
    """(benchmark, pair): of the medians of two processes alike."""
    process = noise.between * draw(generator, kind, (benchmarks, pairs, 2))
    rounds = generator.standard_normal((benchmarks, pairs, 2, ROUNDS))
    values = process + noise.within * np.median(rounds, axis=-1)
    return values[..., 1] - values[..., 0]


def one_run(data: np.ndarray, rules: Rules) -> tuple[dict[str, str], int]:
    """The last verdicts, and the pairs that the first benchmark took."""
    decided: dict[str, str] = {}
    taken = rules.looks[-1]
    verdicts: dict[str, str] = {}
    for look, pairs in enumerate(rules.looks):
        estimates = {
            str(row): estimate(values[:pairs].tolist())
            for row, values in enumerate(data)
        }
        verdicts = judge(estimates, decided, look, rules)
        decided = {n: v for n, v in verdicts.items() if v != INCONCLUSIVE}
        if "0" in decided:
            taken = min(taken, pairs)
        if len(decided) == len(data):
            break
    return verdicts, taken


def rates(
    kind: str,
    noise: Noise,
    slowdown: float,
    runs: int,
    rules: Rules,
    seed: int,
    benchmarks: int = BENCHMARKS,
) -> Rates:
    """The same seed gives the same figures."""
    generator = np.random.default_rng(
        [seed, KINDS.index(kind), round(1e6 * noise.between), round(1e6 * slowdown)]
    )
    alarms = found = undecided = pairs = 0
    for _ in range(runs):
        data = log_ratios(generator, kind, noise, benchmarks, rules.looks[-1])
        data[0] += math.log1p(slowdown)
        verdicts, taken = one_run(data, rules)
        slower = {name for name, word in verdicts.items() if word == REGRESSION}
        alarms += bool(slower - {"0"} if slowdown else slower)
        found += slowdown > 0 and "0" in slower
        undecided += verdicts["0"] == INCONCLUSIVE
        pairs += taken
    return Rates(kind, noise, slowdown, runs, alarms, found, undecided, pairs / runs)


LINES = len(NOISES) * len(KINDS) * (1 + len(SLOWDOWNS))


def all_rates(runs: int, rules: Rules, seed: int) -> Iterator[Rates]:
    for noise in NOISES:
        for kind in KINDS:
            for slowdown in (0.0, *SLOWDOWNS):
                yield rates(kind, noise, slowdown, runs, rules, seed)


HEADING = (
    f"{'processes, rounds':30} {'noise':12} {'planted':>7} {'false alarms':>12} "
    f"{'found':>6} {'undecided':>9} {'pairs':>5}"
)


def line(found: Rates) -> str:
    """One line of the table; per cents of runs."""
    noise = found.noise
    place = f"{noise.place} ({noise.between:.2%}, {noise.within:.1%})"
    planted = f"{found.slowdown:.0%}" if found.slowdown else "none"
    alarms = found.false_alarms / found.runs
    share = f"{found.found / found.runs:.1%}" if found.slowdown else "-"
    return (
        f"{place:30} {found.kind:12} {planted:>7} {alarms:>12.1%} "
        f"{share:>6} {found.undecided / found.runs:>9.1%} {found.pairs:>5.1f}"
    )


def report(found: Sequence[Rates], rules: Rules) -> tuple[str, bool]:
    """The sentence under the table, and whether alpha holds."""
    calm = [rates for rates in found if not rates.slowdown]
    alarms, runs = sum(r.false_alarms for r in calm), sum(r.runs for r in calm)
    beyond = [f"{r.kind} on {r.noise.place}" for r in calm if not r.within(rules.alpha)]
    said = (
        f"Nothing planted: {alarms} of {runs} runs cried wolf ({alarms / runs:.2%}); "
        f"alpha is {rules.alpha:.2%}."
    )
    if beyond:
        said += f" Beyond alpha: {', '.join(beyond)}."
    return said, not beyond
