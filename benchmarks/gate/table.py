"""What the gate found, for a reader and for a program."""

from __future__ import annotations

import math
from dataclasses import asdict

from benchmarks.gate.session import Judged, Outcome
from benchmarks.gate.statistics import (
    INCONCLUSIVE,
    NO_REGRESSION,
    REGRESSION,
    Rules,
)
from reference_trainers import json_text

WORST_FIRST = (REGRESSION, INCONCLUSIVE, NO_REGRESSION)
COLUMNS = (
    f"{'verdict':13} {'ratio':>6} {'95 % interval':>16} {'pairs':>5} "
    f"{'could see':>9}  benchmark"
)


def heading(base: str, head: str, pairs: int, rules: Rules) -> str:
    return (
        f"base: {base}\nhead: {head}\n{pairs} pair{'s' * (pairs != 1)} of processes; "
        f"alpha {rules.alpha:g} for all benchmarks together; "
        f"smallest slowdown of interest {rules.smallest:.1%}\n"
        "ratio: seconds of head / seconds of base; could see: the "
        "smallest slowdown found with 80 % power\n"
    )


def of_outcome(outcome: Outcome) -> str:
    worst = sorted(outcome.judged, key=lambda j: WORST_FIRST.index(j.verdict))
    lines = [COLUMNS, *map(_line, worst)]
    lines += [f"lost: {name}: {why}" for name, why in sorted(outcome.lost.items())]
    lines += [f"new: {name}" for name in sorted(outcome.new)]
    counts = [
        f"{sum(j.verdict == verdict for j in worst)} {verdict}"
        for verdict in WORST_FIRST
    ]
    return "\n".join([*lines, "", ", ".join([*counts, f"{len(outcome.lost)} lost"])])


def budget_told(outcome: Outcome, rules: Rules) -> str | None:
    """What to do where the budget ended the pairs before all was decided."""
    open_ones = [j for j in outcome.judged if j.verdict == INCONCLUSIVE]
    wanted = next((look for look in rules.looks if look > outcome.pairs), None)
    if not open_ones or wanted is None:
        return None
    return (
        f"--budget ended it: the next look is after {wanted} pairs, and would have "
        "come later. Nothing is judged between looks; give more seconds."
    )


def interval_text(interval: tuple[float, float]) -> str:
    low, high = interval
    return "unknown" if math.isinf(high) else f"{low:.3f} to {high:.3f}"


def seen_text(smallest: float | None) -> str:
    return "unknown" if smallest is None else f"{smallest:+.1%}"


def _line(judged: Judged) -> str:
    found = judged.found
    return (
        f"{judged.verdict:13} {found.ratio:6.3f} {interval_text(found.interval()):>16} "
        f"{found.pairs:5d} {seen_text(judged.smallest_seen):>9}  {judged.name}"
    )


def json_of(outcome: Outcome, base: str, head: str, rules: Rules, seed: int) -> str:
    """All that was measured, so that anyone can count it again."""
    benchmarks = [
        {
            "name": judged.name,
            "verdict": judged.verdict,
            "ratio": judged.found.ratio,
            # One pair has no interval
            "interval": judged.found.interval() if judged.found.pairs > 1 else None,
            "p_slower": judged.found.p_slower(),
            "pairs": judged.found.pairs,
            "smallest_seen": judged.smallest_seen,
            "base_seconds": judged.base,
            "head_seconds": judged.head,
        }
        for judged in outcome.judged
    ]
    return json_text(
        {
            "base": base,
            "head": head,
            "rules": asdict(rules),
            "seed": seed,
            "pairs": outcome.pairs,
            "benchmarks": benchmarks,
            "lost": outcome.lost,
            "new": outcome.new,
        }
    )
