"""How far a run's loss fell and how fast it went, from the steps that it reports."""

from __future__ import annotations

from collections.abc import Sequence

from reference_trainers.results import RunReport, StepRecord


def fall_percent(report: RunReport) -> float | None:
    """How far the loss fell from the first step to the last, of its first value."""
    if len(report.steps) < 2 or not report.steps[0].loss:
        return None
    return 100 * (1 - report.steps[-1].loss / report.steps[0].loss)


def samples_per_second(report: RunReport) -> float | None:
    """Rows trained on a second, without the first step, which compiles."""
    later = report.steps[1:]
    if not later:
        return None
    if all(isinstance(record.row_ids, list) for record in later):
        rows: float = sum(len(record.row_ids) for record in later)
    elif "train" in report.splits:  # a large run names digests instead of rows
        passes = later[-1].epoch - report.steps[0].epoch
        rows = passes * report.splits["train"].rows
    else:
        return None
    return _per_second(rows, later)


def tokens_per_second(report: RunReport) -> float | None:
    """Target tokens trained on a second, without the first step, which compiles."""
    later = report.steps[1:]
    return _per_second(sum(record.target_tokens for record in later), later)


def _per_second(amount: float, steps: Sequence[StepRecord]) -> float | None:
    seconds = sum(record.seconds for record in steps)
    return amount / seconds if seconds > 0 else None
