"""Where the runs of several trainers differ: pure functions of their reports.

Reads no file and runs nothing. What was not compared never counts as equal: a missing
step, a missing prediction and a NaN are differences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

from conformance.differences import distance, first_difference
from conformance.tolerances import (
    LONG,
    QUANTITIES,
    SAME_SCORE,
    Tolerance,
    allowed,
    precision_of,
)
from reference_trainers import RunReport, StepRecord, TrainingSpec

# Of quality, none of time. A trainer may report others of its own.
METRICS = [
    f"{split}_{name}"
    for split in ("eval", "predict")
    for name in ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum", "gen_len")
]


class Prediction(NamedTuple):
    """A generated summary beside the true one."""

    prediction: str
    reference: str


@dataclass(frozen=True)
class TrainerRun:
    """What became of one trainer; a report only where it finished."""

    trainer: str
    status: Literal["finished", "failed", "not run"]
    reason: str | None = None
    """One sentence, where it did not finish."""
    report: RunReport | None = None
    predictions: Mapping[int, Prediction] = field(default_factory=dict)
    """By row."""
    dropout: float | None = None
    """Of the model that it trained, where that is known."""
    seconds: float | None = None
    """Of the whole process, start to end."""


@dataclass(frozen=True)
class PairDifference:
    """The first quantity of a step that two trainers do not agree on."""

    step: int
    quantity: str
    a: str
    b: str
    a_value: Any
    b_value: Any


@dataclass(frozen=True)
class LossDifference:
    """The two trainers that are furthest apart at a step."""

    step: int
    difference: float
    a: str
    b: str


@dataclass(frozen=True)
class Pair:
    """Two trainers, step by step."""

    a: str
    b: str
    steps_compared: int
    largest_loss_difference: LossDifference | None
    first_difference: PairDifference | None


@dataclass(frozen=True)
class ComparedPredictions:
    """What the trainers generated, row by row."""

    trainers: list[str]
    """Those that predicted; fewer than two: nothing was compared."""
    rows: int
    differing: list[int]

    @property
    def equal(self) -> bool | None:
        """None when nothing was compared."""
        if len(self.trainers) < 2:
            return None
        return not self.differing


@dataclass(frozen=True)
class Comparison:
    """One spec, the trainers that ran it, and where they differ."""

    spec: TrainingSpec
    precision: str
    runs: list[TrainerRun]
    pairs: list[Pair]
    steps: list[LossDifference]
    """The largest difference between any two trainers at each step."""
    first_difference: PairDifference | None
    input_differences: list[str]
    metrics: list[str]
    """Those that two trainers or more report, and that were compared."""
    metric_differences: list[str]
    predictions: ComparedPredictions

    @property
    def tolerances(self) -> dict[str, Tolerance]:
        """By quantity; what is not a matter of rounding is exact."""
        found = allowed(LONG, self.precision)
        return {name: found[name] for name in QUANTITIES}

    @property
    def finished(self) -> list[TrainerRun]:
        return [run for run in self.runs if run.report is not None]

    @property
    def reports(self) -> dict[str, RunReport]:
        return {run.trainer: run.report for run in self.runs if run.report is not None}

    @property
    def compared(self) -> bool:
        """Whether there were two runs to compare at all."""
        return len(self.finished) >= 2

    @property
    def agreed(self) -> bool | None:
        """Whether all that was compared is within tolerance; None: nothing was."""
        equal = self.predictions.equal
        if not self.compared or not (self.steps or self.metrics or equal is not None):
            return None
        return equal is not False and not (
            self.first_difference or self.input_differences or self.metric_differences
        )

    @property
    def largest_loss_difference(self) -> LossDifference | None:
        return max(self.steps, key=lambda step: step.difference, default=None)


def compare(spec: TrainingSpec, runs: Sequence[TrainerRun]) -> Comparison:
    """All that the page and the table say about the runs of one spec."""
    precision = precision_of(spec)
    reports = {run.trainer: run.report for run in runs if run.report is not None}
    tolerances = allowed(LONG, precision)
    pairs = [_pair(a, b, reports, tolerances) for a, b in combinations(reports, 2)]
    order = ["step", *QUANTITIES]
    first = min(
        (pair.first_difference for pair in pairs if pair.first_difference),
        key=lambda found: (found.step, order.index(found.quantity)),
        default=None,
    )
    return Comparison(
        spec=spec,
        precision=precision,
        runs=list(runs),
        pairs=pairs,
        steps=loss_differences(reports),
        first_difference=first,
        input_differences=input_differences(spec, reports),
        metrics=[name for name in METRICS if len(metric_values(name, reports)) > 1],
        metric_differences=metric_differences(reports, tolerances["eval_loss"]),
        predictions=compare_predictions(runs),
    )


def _pair(
    a: str,
    b: str,
    reports: Mapping[str, RunReport],
    tolerances: Mapping[str, Tolerance],
) -> Pair:
    steps = loss_differences({a: reports[a], b: reports[b]})
    found = first_difference(reports[a].steps, reports[b].steps, tolerances)
    first = None
    if found:
        step, name = found.step, found.quantity
        first = PairDifference(step, name, a, b, found.found, found.expected)
    return Pair(
        a=a,
        b=b,
        steps_compared=len(steps),
        largest_loss_difference=max(steps, key=lambda s: s.difference, default=None),
        first_difference=first,
    )


def by_step(report: RunReport) -> dict[int, StepRecord]:
    return {record.step: record for record in report.steps}


def loss_differences(reports: Mapping[str, RunReport]) -> list[LossDifference]:
    """At each step that two trainers or more took: the two furthest apart."""
    taken = {trainer: by_step(report) for trainer, report in reports.items()}
    furthest = []
    for step in sorted(set().union(*taken.values())):
        gaps = [
            LossDifference(
                step, distance(taken[a][step].loss, taken[b][step].loss), a, b
            )
            for a, b in combinations(taken, 2)
            if step in taken[a] and step in taken[b]
        ]
        if gaps:
            furthest.append(max(gaps, key=lambda gap: gap.difference))
    return furthest


def input_differences(
    spec: TrainingSpec, reports: Mapping[str, RunReport]
) -> list[str]:
    """Sentences on trainers that did not start from the same spec and rows."""
    sentences = [
        f"{trainer} ran another spec than the one given (hash {report.spec_hash[:12]}, "
        f"expected {spec.hash[:12]})"
        for trainer, report in reports.items()
        if report.spec_hash != spec.hash
    ]
    for a, b in combinations(reports, 2):
        splits_a, splits_b = reports[a].splits, reports[b].splits
        for name in sorted(splits_a.keys() | splits_b.keys()):
            x, y = splits_a.get(name), splits_b.get(name)
            if x is None or y is None:
                without, having = (a, b) if x is None else (b, a)
                sentences.append(f"{without} reports no {name} rows, {having} does")
                continue
            for quantity in ("rows", "dropped", "digest"):
                v, w = getattr(x, quantity), getattr(y, quantity)
                if v != w:
                    sentences.append(f"{name} {quantity}: {a} {v}, {b} {w}")
                    break  # the rest follows from it
    return sentences


def compare_predictions(runs: Sequence[TrainerRun]) -> ComparedPredictions:
    """A row that one of them lacks, or has another reference for, differs."""
    predicted = {run.trainer: run.predictions for run in runs if run.predictions}
    rows = sorted(set().union(*predicted.values()))
    differing = [
        row for row in rows if len({mine.get(row) for mine in predicted.values()}) > 1
    ]
    return ComparedPredictions(list(predicted), len(rows), differing)


def metric_values(name: str, reports: Mapping[str, RunReport]) -> dict[str, float]:
    """By trainer, those that report it."""
    return {
        trainer: report.metrics[name]
        for trainer, report in reports.items()
        if name in report.metrics
    }


def metric_differences(
    reports: Mapping[str, RunReport], allowed_loss: Tolerance
) -> list[str]:
    """Sentences on metrics that are beyond tolerance, or that a trainer lacks."""
    sentences = []
    for name in METRICS:
        values = metric_values(name, reports)
        without = [trainer for trainer in reports if trainer not in values]
        if values and without:
            sentences.append(f"{name}: {', '.join(without)} reports none")
        allowed = allowed_loss if name.endswith("loss") else SAME_SCORE
        for a, b in combinations(values, 2):
            if not allowed.allows(values[a], values[b]):
                said = f"{a} {values[a]:.6g}, {b} {values[b]:.6g}"
                sentences.append(f"{name}: {said}")
                break
    return sentences
