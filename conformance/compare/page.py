"""A comparison as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from conformance.compare.chart import loss_chart
from conformance.compare.comparison import Comparison, Pair, Prediction, TrainerRun
from conformance.compare.scores import source_of
from conformance.compare.table import (
    NOTHING,
    gap,
    metric_names,
    number,
    short,
    table,
    type_name,
    verdicts,
)
from conformance.tolerances import QUANTITIES

TEMPLATES = Path(__file__).parents[1] / "templates"
EXAMPLES = 4  # rows of predictions shown
STEPS_SHOWN = 10


def page(comparison: Comparison, note: str | None = None) -> str:
    """The whole page; `note`: a paragraph for whoever reads it."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # predictions and errors are whatever they are
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    header, rows = table(comparison)
    chart = loss_chart(comparison)
    return environment.get_template("compare.html.jinja").render(
        names=list(comparison.reports),
        heading=heading(comparison),
        note=note,
        verdicts=[_subject(verdict) for verdict in verdicts(comparison)],
        header=header,
        rows=rows,
        runs=comparison.runs,
        chart=Markup(chart) if chart else None,
        pairs=[_pair(pair) for pair in comparison.pairs],
        tolerances={
            QUANTITIES[name]: str(allowed)
            for name, allowed in comparison.tolerances.items()
        },
        type_name=type_name(comparison),
        furthest=_furthest_steps(comparison),
        metrics=_metrics(comparison),
        examples=examples(comparison),
        predictions=comparison.predictions,
        splits=_splits(comparison.finished),
        machines=_machines(comparison.finished),
        warnings=[
            (name, warning)
            for name, report in comparison.reports.items()
            for warning in report.warnings
        ],
        spec=comparison.spec.as_yaml(),
        spec_hash=comparison.spec.hash,
    )


def heading(comparison: Comparison) -> tuple[str, str]:
    """The page's first sentence, and how it is coloured: good, bad or plain."""
    same = comparison.agreed
    if same is None:
        return "Nothing was compared", "plain"
    names = ", ".join(comparison.reports)
    if same:
        return f"{names}: within tolerance", "good"
    at_odds = comparison.first_difference or comparison.input_differences
    if comparison.steps and not at_odds:
        return f"{names}: training within tolerance, results differ", "plain"
    return f"{names}: they differ", "bad"


def _subject(verdict: str) -> tuple[str, str]:
    """What a line is about, where it begins with that, and the rest."""
    subject, colon, rest = verdict.partition(": ")
    return (subject + colon, rest) if "(" not in subject else ("", verdict)


def _pair(pair: Pair) -> list[str]:
    largest, first = pair.largest_loss_difference, pair.first_difference
    found = "none" if pair.steps_compared else "no step was compared"
    if first:
        name = QUANTITIES.get(first.quantity, first.quantity)
        values = f"{short(first.a_value)} and {short(first.b_value)}"
        found = f"step {first.step}, {name}: {values}"
    return [
        f"{pair.a} and {pair.b}",
        found,
        str(pair.steps_compared),
        gap(largest.difference) if largest else NOTHING,
        str(largest.step) if largest and largest.difference else NOTHING,
    ]


def _furthest_steps(comparison: Comparison) -> list[list[str]]:
    steps = sorted(comparison.steps, key=lambda step: -step.difference)[:STEPS_SHOWN]
    return [
        [str(step.step), gap(step.difference), f"{step.a} and {step.b}"]
        for step in steps
    ]


def _metrics(comparison: Comparison) -> list[tuple[str, str, list[str], str]]:
    """Name, the rows it is of, value a trainer, and how far they are apart."""
    rows = []
    for name in metric_names(comparison):
        values = [r.metrics.get(name) for r in comparison.reports.values()]
        said = [number(value, ".8g") for value in values]
        numbers = [v for v in values if isinstance(v, (int, float))]
        apart = NOTHING
        if len(numbers) > 1:
            apart = gap(max(numbers) - min(numbers))
        rows.append((name, source_of(comparison, name) or NOTHING, said, apart))
    return rows


def examples(
    comparison: Comparison,
) -> list[tuple[int, str, list[tuple[str, str | None]]]]:
    """Row, reference and what each trainer made of it; rows that differ come first."""
    runs = [run for run in comparison.finished if run.predictions]
    rows = sorted({row for run in runs for row in run.predictions})
    half = comparison.predictions.differing[: EXAMPLES // 2]
    chosen = [*half, *(row for row in rows if row not in half)][:EXAMPLES]
    shown = []
    for row in chosen:
        made = [(run.trainer, run.predictions.get(row)) for run in runs]
        reference = next(p.reference for _, p in made if p)
        shown.append((row, reference, [(name, _text(p)) for name, p in made]))
    return shown


def _text(prediction: Prediction | None) -> str | None:
    return prediction.prediction if prediction else None


def _splits(finished: list[TrainerRun]) -> list[list[str]]:
    """Trainer, split, digest, source, rows used, rows dropped."""
    return [
        [
            *(run.trainer, name, split.digest[:12], split.source),
            *(str(split.rows), str(split.dropped)),
        ]
        for run in finished
        if run.report
        for name, split in run.report.splits.items()
    ]


def _machines(finished: list[TrainerRun]) -> list[tuple[str, dict[str, Any]]]:
    """What each ran on and with."""
    machines = []
    for run in finished:
        if run.report is None:
            continue
        said: dict[str, Any] = {**run.report.hardware, **run.report.versions}
        if run.report.compilations is not None:
            said["programs compiled"] = run.report.compilations
        if run.seconds is not None:
            said["whole process"] = f"{run.seconds:.0f} s"
        machines.append((run.trainer, said))
    return machines
