"""What the pairs add up to, without a process."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.gate.checkouts import Version
from benchmarks.gate.processes import Measured
from benchmarks.gate.session import Pair, head_first, in_pairs, outcome_of
from benchmarks.gate.statistics import Rules

RULES = Rules(looks=(2, 4), shares=(0.5, 0.5), alpha=0.2)
BASE, HEAD = (Version(side, side, Path(side), Path(side)) for side in ("base", "head"))


def test_each_version_comes_first_equally_often_and_the_seed_says_when():
    drawn = [list(islice(head_first(random.Random(seed)), 24)) for seed in range(8)]
    for order in drawn:
        assert all(a != b for a, b in zip(order[::2], order[1::2], strict=True))
    assert len(set(map(tuple, drawn))) == 8
    assert drawn[3] == list(islice(head_first(random.Random(3)), 24))


class Processes:
    """Seconds by version and benchmark; what was asked for is kept."""

    def __init__(self, **seconds: list[float]):
        self.seconds = seconds
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, version: Version, names: list[str]) -> Measured:
        self.asked.append((version.side, tuple(names)))
        turn = (len(self.asked) - 1) // 2
        return Measured(
            {
                name: values[turn] if version is HEAD else 1.0
                for name, values in self.seconds.items()
                if not names or name in names
            },
            {},
        )


def test_what_is_decided_is_not_run_again():
    run = Processes(same=[1.0, 1.001], slow=[2.0, 2.01], loud=[0.5, 2.0, 0.6, 1.9])
    pairs, judged = in_pairs(run, BASE, HEAD, RULES, 1e9, 0, None)
    assert judged == {
        "same": ("no regression", 0),
        "slow": ("regression", 0),
        "loud": ("inconclusive", 1),
    }
    assert [names for _, names in run.asked] == [()] * 4 + [("loud",)] * 4
    assert {side for side, _ in run.asked[:2]} == {"base", "head"}
    outcome = outcome_of(pairs, judged, {}, RULES)
    by_name = {judged.name: judged for judged in outcome.judged}
    assert by_name["loud"].head == (0.5, 2.0, 0.6, 1.9)
    assert by_name["same"].base == (1.0, 1.0)
    assert by_name["slow"].found.ratio == pytest.approx((2.0 * 2.01) ** 0.5)
    assert not outcome.lost and not outcome.new


def pair(base: dict[str, float], head: dict[str, float], **reasons: str) -> Pair:
    return Pair(Measured(base, {}), Measured(head, reasons))


def test_a_benchmark_that_fails_in_one_process_of_head_is_lost():
    pairs = [pair({"a": 1, "b": 1}, {"a": 1, "b": 1})] * 3
    pairs[1] = pair({"a": 1, "b": 1}, {"b": 1}, a="ValueError: no")
    outcome = outcome_of(pairs, {"b": ("no regression", 0)}, {"c": "why"}, RULES)
    assert outcome.lost == {"a": "ValueError: no", "c": "why"}
    assert [judged.name for judged in outcome.judged] == ["b"]


def test_a_benchmark_that_base_has_not_is_new():
    outcome = outcome_of([pair({"a": 1}, {"a": 1, "b": 1})] * 2, {}, {}, RULES)
    assert outcome.new == ("b",)
    assert not outcome.lost
