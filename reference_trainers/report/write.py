"""The last words of a run: its result files, and the report that lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference_trainers.data.tokens import Split
from reference_trainers.files import files_in, write_json
from reference_trainers.protocols import Backend
from reference_trainers.report.machine import hardware, peak_memory, versions
from reference_trainers.results import REPORT_FILE, RunReport


def describe(report: RunReport, splits: Mapping[str, Split], backend: Backend) -> None:
    """Adds the rows, the libraries and the machine to a report."""
    report.splits = {name: split.report for name, split in splits.items()}
    report.versions = versions()
    report.hardware = hardware(backend)
    report.peak_memory_bytes = peak_memory(backend)
    report.compilations = backend.compilations


def write_results(stage: Path, folder: Path, report: RunReport, trained: bool) -> None:
    """Into `stage`: the result files, and the report that lists them all.

    `folder` is the output folder, where an earlier run may have left results.
    """
    for name in ("train", "eval", "predict"):
        own = {k: v for k, v in report.metrics.items() if k.startswith(f"{name}_")}
        if name == "train" and "epoch" in report.metrics:
            own = {"epoch": report.metrics["epoch"], **own}
        if own:
            write_json(stage / f"{name}_results.json", own)
    earlier = folder / "all_results.json"
    results: Mapping[str, Any] = report.metrics
    if not trained and earlier.is_file():  # beside those that an earlier run left
        results = json.loads(earlier.read_text(encoding="utf-8")) | report.metrics
    write_json(stage / "all_results.json", results)
    report.files = sorted({*files_in(stage), REPORT_FILE})
    (stage / REPORT_FILE).write_text(report.as_json(), encoding="utf-8")
