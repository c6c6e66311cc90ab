"""A comparison in words and numbers: the table and the verdicts, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conformance.compare.comparison import Comparison, TrainerRun
from conformance.compare.scores import score_lines
from conformance.tolerances import QUANTITIES
from reference_trainers import RunReport, StepRecord

NOTHING = "-"
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def number(value: Any, form: str = ".4g") -> str:
    """A number for the eye; a dash where there is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return format(value, form)
    return NOTHING if value is None else str(value)


def gap(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}"


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The header, and a row a trainer, in the order in which they were asked for."""
    split = scored_split(comparison)
    header = ["trainer", "steps", "first loss", "last loss", "fall %", f"{split} loss"]
    header += [f"{split} {name}" for name in ROUGE]
    header += ["samples/s", "tokens/s", "peak MB"]
    if any(r.peak_memory_bytes.get("device") for r in comparison.reports.values()):
        header.append("device MB")
    rows = [_row(run, split, len(header)) for run in comparison.runs]
    return header, rows


def scored_split(comparison: Comparison) -> str:
    """Whose metrics the table shows: the evaluation's, else the prediction's."""
    names = {name for report in comparison.reports.values() for name in report.metrics}
    only_predicted = "eval_loss" not in names and "predict_loss" in names
    return "predict" if only_predicted else "eval"


def _row(run: TrainerRun, split: str, width: int) -> list[str]:
    report = run.report
    if report is None:
        return [run.trainer, run.status, *[NOTHING] * (width - 2)]
    losses = [record.loss for record in report.steps]
    memory = {name: size / 1e6 for name, size in report.peak_memory_bytes.items()}
    cells = [
        run.trainer,
        str(len(losses)),
        number(losses[0] if losses else None, ".6f"),
        number(losses[-1] if losses else None, ".6f"),
        number(fall_percent(report), ".1f"),
        number(report.metrics.get(f"{split}_loss"), ".6f"),
        *(number(report.metrics.get(f"{split}_{name}"), ".4f") for name in ROUGE),
        number(samples_per_second(report), ".1f"),
        number(tokens_per_second(report), ".0f"),
        number(memory.get("host"), ".0f"),
        number(memory.get("device"), ".0f"),
    ]
    return cells[:width]


def verdicts(comparison: Comparison) -> list[str]:
    """What was compared, and where the trainers differ, a line each."""
    if not comparison.compared:
        names = ", ".join(comparison.reports)
        finished = f"only {names} finished" if names else "no trainer finished"
        return [f"nothing was compared: {finished}"]
    lines = [f"different input: {s}" for s in comparison.input_differences]
    lines += [_largest(comparison), _first(comparison)]
    lines += [f"different metric: {s}" for s in comparison.metric_differences]
    lines += [_predictions(comparison), *score_lines(comparison)]
    masks = {
        f"{run.trainer} {run.dropout:g}" for run in comparison.finished if run.dropout
    }
    if masks:
        lines.append(
            f"dropout is on ({', '.join(sorted(masks))}): a trainer that draws masks "
            "of its own agrees with the others only on average"
        )
    return lines


def _largest(comparison: Comparison) -> str:
    largest = comparison.largest_loss_difference
    if largest is None:
        return "largest loss difference: none, no training step was compared"
    allowed = comparison.tolerances["loss"]
    return (
        f"largest loss difference {gap(largest.difference)} at step {largest.step} "
        f"between {largest.a} and {largest.b} "
        f"(tolerance in {type_name(comparison)}: {allowed})"
    )


def type_name(comparison: Comparison) -> str:
    """The type that losses are computed in, as the tolerances go by it."""
    half = "float16" if comparison.spec.fp16 else "bfloat16"
    return half if comparison.precision == "half" else comparison.precision


def _first(comparison: Comparison) -> str:
    begin = "first difference beyond tolerance: "
    found = comparison.first_difference
    if found:
        name = QUANTITIES.get(found.quantity, found.quantity)
        a, b = short(found.a_value), short(found.b_value)
        return f"{begin}step {found.step}, {name}, {found.a} {a}, {found.b} {b}"
    if not comparison.steps:
        return f"{begin}no training step was compared"
    names = ", ".join(QUANTITIES.values())
    return f"{begin}none (in {len(comparison.steps)} steps: {names})"


def short(value: Any) -> str:
    """A quantity of a step; of many rows the first few."""
    if isinstance(value, list):
        more = ", ..." if len(value) > 8 else ""
        return f"[{', '.join(map(str, value[:8]))}{more}]"
    if isinstance(value, float):
        return f"{value:.9g}"
    return str(value)[:16]


def _predictions(comparison: Comparison) -> str:
    found = comparison.predictions
    silent = [r.trainer for r in comparison.finished if r.trainer not in found.trainers]
    if found.equal is None:
        return f"predictions: not compared, {', '.join(silent)} wrote none"
    if found.equal:
        line = f"predictions: all {found.rows} equal"
    else:
        rows = short(found.differing)[1:-1]
        line = (
            f"predictions: {len(found.differing)} of {found.rows} differ (rows {rows})"
        )
    return f"{line}; {', '.join(silent)} wrote none" if silent else line


def plain_text(comparison: Comparison) -> str:
    """The table and the verdicts for a terminal."""
    header, rows = table(comparison)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = []
    for row in (header, *rows):
        first, *others = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *others)).rstrip())
    lines.append("")
    lines += [
        f"{r.trainer}: {r.status}: {r.reason}" for r in comparison.runs if r.reason
    ]
    return "\n".join([*lines, *verdicts(comparison)])


def metric_names(comparison: Comparison) -> list[str]:
    """Metrics of quality that any trainer reports; none that measures time."""
    names = {name for report in comparison.reports.values() for name in report.metrics}
    timings = ("_runtime", "_per_second", "_samples")
    return sorted(
        name
        for name in names
        if name.startswith(("eval_", "predict_")) and not name.endswith(timings)
    )


# ---- how far the loss fell, and how fast, from the steps that a run reports ---------


def fall_percent(report: RunReport) -> float | None:
    """How far the loss fell from the first step to the last, of its first value."""
    if len(report.steps) < 2 or not report.steps[0].loss:
        return None
    return 100 * (1 - report.steps[-1].loss / report.steps[0].loss)


def steady_steps(report: RunReport) -> list[StepRecord]:
    """Those that show a speed: neither the first, nor one that compiled a program."""
    return [record for record in report.steps[1:] if not record.compiled]


def samples_per_second(report: RunReport) -> float | None:
    """Rows trained on a second, in the steady steps."""
    steady = steady_steps(report)
    if not steady:
        return None
    if all(isinstance(record.row_ids, list) for record in steady):
        rows: float = sum(len(record.row_ids) for record in steady)
    elif "train" in report.splits:  # a large run names digests instead of rows
        passes = report.steps[-1].epoch - report.steps[0].epoch
        share = len(steady) / (len(report.steps) - 1)
        rows = passes * share * report.splits["train"].rows
    else:
        return None
    return _per_second(rows, steady)


def tokens_per_second(report: RunReport) -> float | None:
    """Target tokens trained on a second, in the steady steps."""
    steady = steady_steps(report)
    return _per_second(sum(record.target_tokens for record in steady), steady)


def _per_second(amount: float, steps: Sequence[StepRecord]) -> float | None:
    seconds = sum(record.seconds for record in steps)
    return amount / seconds if seconds > 0 else None
