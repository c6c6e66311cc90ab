"""A comparison as compare.json holds it: every step, every metric, every verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from conformance.compare.comparison import Comparison, TrainerRun
from conformance.compare.table import (
    fall_percent,
    samples_per_second,
    tokens_per_second,
    verdicts,
)

SCHEMA = 1  # of compare.json; raised when a field changes its meaning


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """compare.json."""
    content = {
        "schema": SCHEMA,
        "spec": comparison.spec.as_dict(),
        "spec_hash": comparison.spec.hash,
        "compared": comparison.compared,
        "verdicts": verdicts(comparison),
        "tolerances": comparison.tolerances,
        "trainers": [_trainer(run) for run in comparison.runs],
        "largest_loss_difference": comparison.largest_loss_difference,
        "first_difference": comparison.first_difference,
        "input_differences": comparison.input_differences,
        "metrics_compared": comparison.metrics,
        "metric_differences": comparison.metric_differences,
        "pairs": comparison.pairs,
        "steps": _steps(comparison),
        "predictions": {
            **asdict(comparison.predictions),
            "equal": comparison.predictions.equal,
        },
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def _trainer(run: TrainerRun) -> dict[str, Any]:
    said = {
        "trainer": run.trainer,
        "status": run.status,
        "reason": run.reason,
        "seconds": run.seconds,
        "dropout": run.dropout,
    }
    if run.report is None:
        return said
    report = run.report
    return said | {
        "steps": len(report.steps),
        "fall_percent": fall_percent(report),
        "samples_per_second": samples_per_second(report),
        "target_tokens_per_second": tokens_per_second(report),
        "peak_memory_bytes": report.peak_memory_bytes,
        "compilations": report.compilations,
        "metrics": report.metrics,
        "splits": report.splits,
        "versions": report.versions,
        "hardware": report.hardware,
        "warnings": report.warnings,
    }


def _steps(comparison: Comparison) -> list[dict[str, Any]]:
    losses: dict[int, dict[str, float]] = {}
    for trainer, report in comparison.reports.items():
        for record in report.steps:
            losses.setdefault(record.step, {})[trainer] = record.loss
    furthest = {gap.step: gap for gap in comparison.steps}
    return [
        {
            "step": step,
            "losses": losses[step],
            "largest_difference": furthest[step].difference
            if step in furthest
            else None,
            "between": [furthest[step].a, furthest[step].b]
            if step in furthest
            else None,
        }
        for step in sorted(losses)
    ]


def _plain(value: Any) -> Any:
    """As JSON can hold it: what is infinite or no number becomes its name."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
