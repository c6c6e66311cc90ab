"""Where the evaluation metrics of trainers differ."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from conformance.tolerances import Tolerance
from reference_trainers.results import RunReport

# Of quality, none of time. A trainer may report others of its own.
METRICS = [
    f"{split}_{name}"
    for split in ("eval", "predict")
    for name in ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum", "gen_len")
]
SAME_SCORE = Tolerance(relative=1e-6)  # of equal predictions, summed in another order


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
