"""The gate's arithmetic: against scipy, by hand, and by seeded simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from scipy import stats

from benchmarks.gate.simulation import (
    KINDS,
    NOISES,
    Noise,
    Rates,
    draw,
    log_ratios,
    one_run,
    rates,
    report,
)
from benchmarks.gate.statistics import (
    INCONCLUSIVE,
    NO_REGRESSION,
    REGRESSION,
    Estimate,
    Rules,
    estimate,
    holm,
    judge,
    power,
    smallest_seen,
)

RULES = Rules()


def test_p_and_interval_are_scipys():
    values = np.random.default_rng(3).normal(0.02, 0.03, 9)
    found = estimate(values.tolist())
    test = stats.ttest_1samp(values, 0, alternative="greater")
    assert found.p_slower() == pytest.approx(test.pvalue, rel=1e-9)
    both = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert np.log(found.interval()) == pytest.approx([both.low, both.high], rel=1e-9)
    upper = stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.99)
    assert found.upper(0.01) == pytest.approx(upper.high, rel=1e-9)
    assert found.ratio == pytest.approx(stats.gmean(np.exp(values)))


def test_without_spread_p_is_that_of_fair_coins():
    assert estimate([0.1] * 6).p_slower() == 1 / 64
    assert estimate([-0.1] * 6).p_slower() == 1
    assert estimate([0.0] * 6).p_slower() == 1


def test_one_pair_says_nothing():
    found = estimate([1.0])
    assert found.p_slower() == 1
    assert found.upper(0.01) == math.inf
    assert smallest_seen(found, 1, 0, RULES) is None


def test_holm_goes_on_from_the_smallest_to_the_first_that_fails():
    p_values = {"a": 0.0124, "b": 0.02, "c": 0.04, "d": 0.0125}
    assert holm(p_values, 0.05) == {"a", "d", "b", "c"}  # 4, 3, 2, 1 of 0.05
    assert holm(p_values | {"b": 0.026}, 0.05) == {"a", "d"}
    assert holm(p_values | {"a": 0.0126, "d": 0.03}, 0.05) == set()


def test_alpha_is_spent_once():
    assert sum(RULES.shares) == pytest.approx(1)
    assert len(RULES.shares) == len(RULES.looks)
    assert list(RULES.looks) == sorted({*RULES.looks})
    assert all(pairs % 2 == 0 for pairs in RULES.looks)


@pytest.mark.parametrize(
    ("mean", "spread", "verdict"),
    [
        (0.10, 0.001, REGRESSION),
        (0.02, 0.0001, NO_REGRESSION),  # it is there, and too small to matter
        (0.0, 0.001, NO_REGRESSION),
        (-0.5, 0.001, NO_REGRESSION),
        (0.10, 0.2, INCONCLUSIVE),
        (0.0, 0.2, INCONCLUSIVE),
        (0.029, 0.001, INCONCLUSIVE),  # just below what matters
    ],
)
def test_verdicts(mean, spread, verdict):
    found = {"it": Estimate(mean, spread, 6)}
    assert judge(found, {}, 0, RULES) == {"it": verdict}


def test_a_verdict_stands_and_the_acquitted_still_count():
    # Of p between a/2 and a: alone it would be rejected, in a family of two it is not
    level = RULES.level(1)
    t = stats.t.isf(0.75 * level, 9)
    mean = 0.1
    doubtful = Estimate(mean, mean / t * math.sqrt(10), 10)
    assert level / 2 < doubtful.p_slower() < level
    found = {"doubtful": doubtful, "other": Estimate(1.0, 0.5, 6)}
    for before, verdict in [
        (NO_REGRESSION, INCONCLUSIVE),
        (REGRESSION, REGRESSION),  # Holm's next step
    ]:
        judged = judge(found, {"other": before}, 1, RULES)
        assert judged == {"other": before, "doubtful": verdict}


@pytest.mark.parametrize(("pairs", "look"), [(6, 0), (10, 1), (24, 3)])
@pytest.mark.parametrize("spread", [0.003, 0.04])
def test_the_smallest_slowdown_is_found_in_80_of_100(pairs, look, spread):
    seen = smallest_seen(Estimate(0.0, spread, pairs), 5, look, RULES)
    assert seen is not None
    generator = np.random.default_rng(pairs)
    data = generator.normal(math.log1p(seen), spread, (4000, pairs))
    mean, deviation = data.mean(axis=1), data.std(axis=1, ddof=1)
    p_values = stats.t.sf(mean / deviation * math.sqrt(pairs), pairs - 1)
    slower = p_values <= RULES.level(look) / 5
    found = np.mean(slower & (mean >= math.log1p(RULES.smallest)))
    assert found == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("slowdown", [0.0, 0.02, 0.05, 0.2])
def test_power_is_that_of_the_noncentral_t(slowdown):
    found = Estimate(0.0, 0.04, 8)
    critical = stats.t.isf(0.001, 7)
    expected = stats.nct.sf(critical, 7, slowdown / found.error)
    assert power(slowdown, found, 0.001, -math.inf) == pytest.approx(expected, abs=2e-3)


def test_without_spread_it_sees_what_is_of_interest_or_nothing():
    assert smallest_seen(Estimate(0.0, 0.0, 10), 1, 1, RULES) == RULES.smallest
    assert smallest_seen(Estimate(0.0, 0.0, 6), 1, 0, RULES) is None


def test_it_sees_less_in_more_noise_and_more_with_more_pairs():
    quiet, loud, longer = (
        smallest_seen(Estimate(0.0, spread, pairs), 20, 3, RULES) or math.inf
        for spread, pairs in [(0.02, 12), (0.04, 12), (0.04, 24)]
    )
    assert RULES.smallest < quiet < longer < loud < 1


# ---- error rates --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_symmetric_in_pairs_and_has_the_spread_that_is_said(kind):
    generator = np.random.default_rng(0)
    noise = draw(generator, kind, (200_000,))
    assert noise.std() == pytest.approx(1, rel=0.1)
    data = log_ratios(generator, kind, Noise("", 0.01, 0.01), 2000, 20)
    assert data.mean() == pytest.approx(0, abs=3e-4)
    # Of a median of 5 normal values: 0.536 of theirs
    expected = math.sqrt(2) * math.hypot(0.01, 0.536 * 0.01)
    assert data.std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_holds_over_looks_and_benchmarks(kind):
    """Without the margin of `smallest`, which hides most false alarms: all of a run's
    looks and benchmarks together spend no more than alpha."""
    rules = Rules(alpha=0.05, smallest=0.0)
    found = rates(kind, NOISES[0], 0.0, 300, rules, seed=1, benchmarks=5)
    assert found.within(0.05)
    assert found.false_alarms > 0, "a test that never rejects holds any alpha"


def test_alpha_would_not_hold_if_each_look_spent_all_of_it(monkeypatch):
    monkeypatch.setattr(Rules, "level", lambda self, look: self.alpha)
    monkeypatch.setattr(
        "benchmarks.gate.statistics.holm",
        lambda p_values, alpha: {n for n, p in p_values.items() if p <= alpha},
    )
    rules = Rules(alpha=0.05, smallest=0.0)
    found = rates("gaussian", NOISES[0], 0.0, 100, rules, seed=1, benchmarks=5)
    assert not found.within(0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slowdown", "share"), [(0.05, 0.9), (0.10, 0.97), (0.2, 1)])
def test_planted_slowdowns_are_found(kind, slowdown, share):
    found = rates(kind, NOISES[0], slowdown, 60, RULES, seed=2, benchmarks=10)
    assert found.found / found.runs >= share
    assert found.within(RULES.alpha)


def test_the_same_seed_gives_the_same_rates():
    again = [rates("heavy tails", NOISES[0], 0.05, 5, RULES, 7, 3) for _ in range(2)]
    assert again[0] == again[1]


def test_a_run_ends_when_all_is_decided():
    verdicts, taken = one_run(np.repeat([[0.5], [0.0]], 24, axis=1), RULES)
    assert verdicts == {"0": REGRESSION, "1": NO_REGRESSION}
    assert taken == 10  # 2^-6 is too much for a(1)


def test_the_report_says_when_alpha_does_not_hold():
    good = Rates("gaussian", NOISES[0], 0.0, 200, 2, 0, 0, 6.0)
    bad = Rates("gaussian", NOISES[1], 0.0, 200, 9, 0, 0, 6.0)
    said, holds = report([good], RULES)
    assert holds
    assert "2 of 200 runs cried wolf (1.00%); alpha is 1.00%" in said
    said, holds = report([good, bad], RULES)
    assert not holds
    assert "Beyond alpha: gaussian on a shared machine." in said
