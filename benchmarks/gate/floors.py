"""Trainer / floor of this run beside what is recorded for this kind of machine.

The two halves of such a ratio are measured in one process, so a slow day cancels out;
what differs from process to process does not. Where several records (processes) are at
hand, on either side, their spread is what counts; of a single one only the interval
over its pairs is known, which is narrower than the truth: `--smallest` is its margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, variance

from scipy.special import stdtr, stdtrit

from benchmarks.gate.statistics import (
    CONFIDENCE,
    INCONCLUSIVE,
    NO_REGRESSION,
    REGRESSION,
    Rules,
    holm,
)
from benchmarks.gate.table import WORST_FIRST, interval_text
from benchmarks.reading import Floor, Record, Result, read_record, read_records
from reference_trainers import InputError, json_text


@dataclass(frozen=True)
class Mean:
    """Of log ratios: `error` is the standard error, by so many degrees of freedom."""

    mean: float
    error: float
    freedom: int


@dataclass(frozen=True)
class Loss:
    """How much of its ratio to a floor a trainer has lost, as a log: above 0 is
    slower than recorded."""

    name: str
    now: float
    recorded: float
    mean: float
    error: float
    freedom: float

    def p_slower(self) -> float:
        if self.error == 0:
            return 0.0 if self.mean > 0 else 1.0
        return float(stdtr(self.freedom, -self.mean / self.error))

    def bound(self, chance: float) -> float:
        """The loss is below this, but for a chance."""
        return self.mean + float(stdtrit(self.freedom, 1 - chance)) * self.error

    def interval(self) -> tuple[float, float]:
        """Of recorded / now: 1.05 is 5 % slower."""
        half = self.bound((1 - CONFIDENCE) / 2) - self.mean
        return math.exp(self.mean - half), math.exp(self.mean + half)


@dataclass(frozen=True)
class Judged:
    """What became of one benchmark beside one floor."""

    loss: Loss
    verdict: str


@dataclass(frozen=True)
class Outcome:
    """What became of all of them."""

    kind: str
    judged: tuple[Judged, ...]
    lost: dict[str, str]


def compare(paths: Sequence[Path], folder: Path, rules: Rules) -> Outcome:
    """Records of this run against those in a folder of the same kind of machine."""
    now = read_records(paths)
    kinds = {record.machine.name for record in now}
    if len(kinds) > 1:
        raise InputError(
            f"--floor: several machines made them: {'; '.join(sorted(kinds))}. "
            "Give those of one."
        )
    (kind,) = kinds
    given = {path.resolve() for path in paths}
    known = [
        read_record(path)
        for path in sorted(folder.glob("*.json"))
        if path.resolve() not in given
    ]
    recorded = [record for record in known if record.machine.name == kind]
    if not recorded:
        others = sorted({record.machine.name for record in known})
        raise InputError(
            f"--floor: {folder} has no record of {kind}; it has: "
            f"{'; '.join(others) or 'none'}. Copy one that is known to be good there."
        )
    return _outcome(kind, _by_name(now), _by_name(recorded), rules)


def loss(name: str, now: Sequence[Floor], recorded: Sequence[Floor]) -> Loss:
    """Welch's (1947): the two sides may have spreads of their own."""
    here, there = mean_of(now), mean_of(recorded)
    error = math.hypot(here.error, there.error)
    freedom = math.inf
    if error:
        freedom = error**4 / (
            here.error**4 / here.freedom + there.error**4 / there.freedom
        )
    mean = there.mean - here.mean
    return Loss(name, math.exp(here.mean), math.exp(there.mean), mean, error, freedom)


def mean_of(floors: Sequence[Floor]) -> Mean:
    """The larger of two errors: over processes, and over the pairs of a process."""
    logs = [math.log(floor.ratio) for floor in floors]
    within = fmean(_variance(floor) for floor in floors) / len(floors)
    freedom = max(1, sum(len(floor.seconds) - 1 for floor in floors))
    if len(floors) > 1 and (between := variance(logs) / len(floors)) >= within:
        return Mean(fmean(logs), math.sqrt(between), len(floors) - 1)
    return Mean(fmean(logs), math.sqrt(within), freedom)


def _variance(floor: Floor) -> float:
    """Of one process's log ratio, from the width of its t interval."""
    assert floor.interval is not None
    low, high = floor.interval
    half = math.log(high / low) / 2
    freedom = max(1, len(floor.seconds) - 1)
    return float((half / stdtrit(freedom, (1 + CONFIDENCE) / 2)) ** 2)


def _by_name(records: Sequence[Record]) -> dict[str, list[tuple[Result, Floor]]]:
    found: dict[str, list[tuple[Result, Floor]]] = {}
    for record in records:
        for result in record.results:
            for kind, floor in result.floors.items():
                if floor.interval is None:
                    continue  # of a single pair nothing can be said
                name = f"{result.fullname} over {kind}"
                found.setdefault(name, []).append((result, floor))
    return found


def _outcome(
    kind: str,
    now: dict[str, list[tuple[Result, Floor]]],
    recorded: dict[str, list[tuple[Result, Floor]]],
    rules: Rules,
) -> Outcome:
    lost = dict.fromkeys(recorded, "it is recorded, and this run has none")
    losses = []
    for name, those in now.items():
        lost.pop(name, None)
        specs = {_spec(result) for result, _ in (*those, *recorded.get(name, []))}
        if name not in recorded:
            continue  # new: it has nothing to be worse than
        if len(specs) > 1:
            lost[name] = "its spec or precision is not the recorded one: record it anew"
            continue
        losses.append(loss(name, [f for _, f in those], [f for _, f in recorded[name]]))
    if not losses and not lost:
        raise InputError("--floor: no benchmark of this run has a recorded floor.")
    return Outcome(kind, judge(losses, rules), lost)


def _spec(result: Result) -> tuple[str, str]:
    return result.texts["spec_hash"], result.texts["precision"]


def judge(losses: Sequence[Loss], rules: Rules) -> tuple[Judged, ...]:
    """As the gate's own verdicts, at one look."""
    of_interest = math.log1p(rules.smallest)
    p_values = {
        found.name: found.p_slower() if found.mean >= of_interest else 1.0
        for found in losses
    }
    slower = holm(p_values, rules.alpha)
    judged = []
    for found in losses:
        verdict = INCONCLUSIVE
        if found.name in slower:
            verdict = REGRESSION
        elif found.bound(rules.missed) < of_interest:
            verdict = NO_REGRESSION
        judged.append(Judged(found, verdict))
    return tuple(judged)


def table_of(outcome: Outcome, rules: Rules) -> str:
    lines = [
        f"machine: {outcome.kind}\ntrainer / floor, as throughput; alpha "
        f"{rules.alpha:g} for all together; smallest loss of interest "
        f"{rules.smallest:.1%}\nloss: recorded ratio / this run's\n",
        f"{'verdict':13} {'now':>6} {'recorded':>8} {'loss':>6} "
        f"{'95 % interval':>16}  benchmark",
    ]
    for judged in sorted(outcome.judged, key=lambda j: WORST_FIRST.index(j.verdict)):
        found = judged.loss
        lines.append(
            f"{judged.verdict:13} {found.now:6.3f} {found.recorded:8.3f} "
            f"{math.exp(found.mean):6.3f} {interval_text(found.interval()):>16}  "
            f"{found.name}"
        )
    lines += [f"lost: {name}: {why}" for name, why in sorted(outcome.lost.items())]
    return "\n".join(lines)


def json_of(outcome: Outcome, rules: Rules) -> str:
    return json_text(
        {
            "machine": outcome.kind,
            "rules": asdict(rules),
            "floors": [
                {
                    "name": judged.loss.name,
                    "verdict": judged.verdict,
                    "now": judged.loss.now,
                    "recorded": judged.loss.recorded,
                    "loss": math.exp(judged.loss.mean),
                    "interval": judged.loss.interval(),
                    "p_slower": judged.loss.p_slower(),
                }
                for judged in outcome.judged
            ],
            "lost": outcome.lost,
        }
    )
