"""Pairs of processes, look after look, until all is decided or the budget ends."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tqdm import tqdm

from benchmarks.gate.checkouts import Version
from benchmarks.gate.processes import Measured, Suite, measure, tests_in
from benchmarks.gate.statistics import (
    INCONCLUSIVE,
    Estimate,
    Rules,
    estimate,
    judge,
    smallest_seen,
)
from reference_trainers import InputError

Run = Callable[[Version, list[str]], Measured]


@dataclass(frozen=True)
class Judged:
    """What became of one benchmark."""

    name: str
    verdict: str
    found: Estimate
    smallest_seen: float | None
    base: tuple[float, ...]
    """Seconds, a process each; those of `head` are of the same pairs."""
    head: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of all of them."""

    judged: tuple[Judged, ...]
    lost: dict[str, str] = field(default_factory=dict)
    """Benchmarks that base has and head has not, or not in every process: why."""
    new: tuple[str, ...] = ()
    """Those that only head has."""
    pairs: int = 0


@dataclass(frozen=True)
class Pair:
    """Two processes, one after the other."""

    base: Measured
    head: Measured


def compare(
    suite: Suite,
    base: Version,
    head: Version,
    rules: Rules,
    budget: float,
    seed: int,
) -> Outcome:
    """Base against head by the benchmarks of one suite."""
    own = replace(suite, root=base.tree)
    lost = dict.fromkeys(
        tests_in(own, base) - tests_in(suite, head),
        "it is in base's own suite, and not in this one",
    )

    def run(version: Version, names: list[str]) -> Measured:
        return measure(suite, version, names)

    pairs, judged = in_pairs(run, base, head, rules, budget, seed, suite.expression)
    return outcome_of(pairs, judged, lost, rules)


def in_pairs(
    run: Run,
    base: Version,
    head: Version,
    rules: Rules,
    budget: float,
    seed: int,
    expression: str | None,
) -> tuple[list[Pair], dict[str, tuple[str, int]]]:
    """All that was measured; verdict and look of what was judged.

    The budget only says which looks there are: nothing is judged between them.
    """
    order = head_first(random.Random(seed))
    pairs: list[Pair] = []
    names: list[str] = []  # all, at first
    judged: dict[str, tuple[str, int]] = {}
    begun = time.monotonic()
    took = 0.0
    with tqdm(total=rules.looks[-1], unit="pair", disable=None) as bar:
        for look, wanted in enumerate(rules.looks):
            while len(pairs) < wanted:
                missing = (wanted - len(pairs)) * took
                if pairs and time.monotonic() - begun + missing > budget:
                    return pairs, judged
                since = time.monotonic()
                sides = [head, base] if next(order) else [base, head]
                found = {}
                for side in sides:
                    bar.set_postfix_str(f"{side.side} is running")
                    found[side.side] = run(side, names)
                took = time.monotonic() - since
                pairs.append(Pair(found["base"], found["head"]))
                bar.update()
                if len(pairs) == 1:
                    _check(pairs[0], expression)
            estimates = {name: _estimate(pairs, name) for name in comparable(pairs)}
            decided = {n: v for n, (v, _) in judged.items() if v != INCONCLUSIVE}
            for name, verdict in judge(estimates, decided, look, rules).items():
                if name not in decided:
                    judged[name] = verdict, look
            names = [n for n in estimates if judged[n][0] == INCONCLUSIVE]
            if not names:
                break
    return pairs, judged


def head_first(generator: random.Random) -> Iterator[bool]:
    """Which comes first is drawn, and balanced over every two pairs: so neither a
    machine that grows warm nor what the first leaves behind is laid on one version."""
    while True:
        first = generator.random() < 0.5
        yield first
        yield not first


def comparable(pairs: list[Pair]) -> list[str]:
    """The benchmarks that every process had which was asked for them: one that was
    decided is not run again, and is missing on both sides from then on."""
    names = dict.fromkeys(
        n for n in pairs[0].base.seconds if n in pairs[0].head.seconds
    )
    return [name for name in names if not _broken(pairs, name)]


def _broken(pairs: list[Pair], name: str) -> bool:
    return any(
        (name in pair.base.seconds) != (name in pair.head.seconds)
        or name in {*pair.base.reasons, *pair.head.reasons}
        for pair in pairs
    )


def _check(pair: Pair, expression: str | None) -> None:
    """After the first pair: is there anything to compare?"""
    base, head = pair.base, pair.head
    if {*base.seconds} & {*head.seconds}:
        return
    asked = "" if expression is None else f"-k {expression}: "
    if not any([base.seconds, head.seconds, base.reasons, head.reasons]):
        raise InputError(
            f"{asked}no benchmark matches; `python -m benchmarks run --list` "
            "lists them."
        )
    reasons = {**base.reasons, **head.reasons}
    why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    raise InputError(
        f"{asked}no benchmark ran on both versions, so nothing can be compared. "
        f"{why or 'Each has benchmarks that the other has not.'}"
    )


def _estimate(pairs: list[Pair], name: str) -> Estimate:
    return estimate(
        [
            math.log(pair.head.seconds[name] / pair.base.seconds[name])
            for pair in pairs
            if name in pair.base.seconds
        ]
    )


def outcome_of(
    pairs: list[Pair],
    judged: dict[str, tuple[str, int]],
    lost: dict[str, str],
    rules: Rules,
) -> Outcome:
    whole = comparable(pairs)
    lost, new = {**lost}, []
    seen: dict[str, None] = {}
    for pair in pairs:
        for side in (pair.base, pair.head):
            seen |= dict.fromkeys([*side.seconds, *side.reasons])
    for name in seen:
        if name in whole:
            continue
        reason = next((r for p in pairs if (r := p.head.reasons.get(name))), None)
        if reason or name not in pairs[0].head.seconds:
            lost[name] = reason or "head does not run it"
        else:
            new.append(name)
    results = []
    for name in whole:
        verdict, look = judged.get(name, (INCONCLUSIVE, 0))
        found = _estimate(pairs, name)
        measured = [pair for pair in pairs if name in pair.base.seconds]
        results.append(
            Judged(
                name,
                verdict,
                found,
                smallest_seen(found, len(whole), look, rules),
                tuple(pair.base.seconds[name] for pair in measured),
                tuple(pair.head.seconds[name] for pair in measured),
            )
        )
    return Outcome(tuple(results), lost, tuple(new), len(pairs))
