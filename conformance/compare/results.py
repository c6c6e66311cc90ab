"""Reads what a trainer left in its output folder."""

from __future__ import annotations

import json
from pathlib import Path

from conformance.compare.comparison import Prediction, TrainerRun
from reference_trainers import PREDICTIONS_JSONL, REPORT_FILE, SCHEMA, RunReport


def collect(name: str, folder: Path, seconds: float) -> TrainerRun:
    """The run that a trainer's folder tells of; failed where it tells of none."""
    try:
        report = RunReport.read(folder)
        predictions = read_predictions(folder / PREDICTIONS_JSONL)
    except FileNotFoundError:
        reason = f"it ended well, but wrote no {REPORT_FILE}"
        return TrainerRun(name, "failed", reason, seconds=seconds)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"its result files cannot be read: {error!r}"
        return TrainerRun(name, "failed", reason, seconds=seconds)
    wrong = None
    if report.schema != SCHEMA:
        wrong = f"{REPORT_FILE} has schema {report.schema}; {SCHEMA} is understood"
    elif report.status != "finished":
        wrong = f"it ended well, but its report says {report.status!r}"
    if wrong:
        return TrainerRun(name, "failed", wrong, seconds=seconds)
    return TrainerRun(
        name,
        "finished",
        report=report,
        predictions=predictions,
        dropout=dropout_of(folder),
        seconds=seconds,
    )


def read_predictions(path: Path) -> dict[int, Prediction]:
    """By row; none where the run did not predict."""
    if not path.exists():
        return {}
    with open(path, encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return {
        line["row"]: Prediction(line["prediction"], line["reference"]) for line in found
    }


def dropout_of(folder: Path) -> float | None:
    """As the model's config.json names it: T5's or BART's way."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    rates = [config.get(name) for name in ("dropout_rate", "dropout")]
    known = [rate for rate in rates if isinstance(rate, (int, float))]
    return max(known, default=None)
