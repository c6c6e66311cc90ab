"""What each score is of: how many rows, of which file."""

from __future__ import annotations

from conformance.compare.comparison import Comparison

PREFIXES = {"validation": "eval", "test": "predict"}
"""By split: how the names of its metrics begin."""


def score_lines(comparison: Comparison) -> list[str]:
    """A line for each split that texts were generated for: its ROUGE, and its rows."""
    lines = []
    for split, prefix in PREFIXES.items():
        said = [_said(comparison, f"{prefix}_{name}") for name in ("rouge1", "rouge2")]
        where = rows_of(comparison, split)
        if all(said) and where:
            lines.append(f"{prefix} scores, of {where}: {', '.join(said)}")
    return lines


def rows_of(comparison: Comparison, split: str) -> str | None:
    """Rows and file of a split, as the first trainer that has it reports them."""
    for report in comparison.reports.values():
        if split in report.splits:
            found = report.splits[split]
            return f"{found.rows} rows of {found.source}"
    return None


def source_of(comparison: Comparison, metric: str) -> str | None:
    """The rows that a metric is of."""
    for split, prefix in PREFIXES.items():
        if metric.startswith(f"{prefix}_"):
            return rows_of(comparison, split)
    return None


def _said(comparison: Comparison, metric: str) -> str:
    """A score, or the least and the most that trainers report; "" where none does."""
    values = [
        report.metrics[metric]
        for report in comparison.reports.values()
        if metric in report.metrics
    ]
    if not values:
        return ""
    ends = dict.fromkeys(f"{end(values):.2f}" for end in (min, max))
    return f"{metric.partition('_')[2]} {' to '.join(ends)}"
