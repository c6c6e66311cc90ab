"""The last words of a run: its result files, and the report that lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from reference_trainers.data.tokens import Split
from reference_trainers.files import files_in, write_json
from reference_trainers.flags import HubFlags
from reference_trainers.protocols import Backend
from reference_trainers.report.card import LOSS_PLOT, model_card
from reference_trainers.report.machine import hardware, peak_memory, versions
from reference_trainers.report.plot import plot_loss
from reference_trainers.results import (
    PREDICTIONS_FILE,
    PREDICTIONS_JSONL,
    REPORT_FILE,
    RunReport,
)
from reference_trainers.spec import TrainingSpec

ALL_RESULTS, CARD, STATE = "all_results.json", "README.md", "trainer_state.json"
ACTIONS = {"train": "do_train", "eval": "do_eval", "predict": "do_predict"}
# They say where a run writes and how it looks, not what it computes
UNTOLD = {
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    *ACTIONS.values(),
    *(flag.name for flag in fields(HubFlags)),
}


def result_names(spec: TrainingSpec) -> set[str]:
    """Names of the files that a run of `spec` writes, but for those of the model."""
    acts = [name for name, flag in ACTIONS.items() if getattr(spec, flag)]
    names = {ALL_RESULTS, REPORT_FILE, *(f"{name}_results.json" for name in acts)}
    if spec.do_train:
        names |= {CARD, STATE, *([LOSS_PLOT] if spec.push_to_hub else [])}
    if spec.do_predict and spec.predict_with_generate:
        names |= {PREDICTIONS_FILE, PREDICTIONS_JSONL}
    return names


def describe(report: RunReport, splits: Mapping[str, Split], backend: Backend) -> None:
    """Adds the rows, the libraries and the machine to a report."""
    report.splits = {name: split.report for name, split in splits.items()}
    report.versions = versions()
    report.hardware = hardware(backend)
    report.peak_memory_bytes = peak_memory(backend)
    report.compilations = backend.compilations


def added_to(
    earlier: RunReport,
    trainer: str,
    spec: TrainingSpec,
    splits: Mapping[str, Split],
    metrics: Mapping[str, Any],
) -> RunReport:
    """The report of a run that only evaluated what an earlier one published.

    Steps, spec and hash stay those of the training.
    """
    entry = {
        "trainer": trainer,
        "spec_hash": spec.hash,
        "flags": changed_flags(earlier, spec),
        "metrics": sorted(metrics),
    }
    reports = {name: split.report for name, split in splits.items() if name != "train"}
    return replace(
        earlier,
        splits={**earlier.splits, **reports},
        metrics={**earlier.metrics, **metrics},
        added=[*(past for past in earlier.added if past != entry), entry],
    )


def is_told(
    earlier: RunReport, spec: TrainingSpec, splits: Mapping[str, Split]
) -> bool:
    """Whether the report of a trained model has all that `spec` asks for."""
    if earlier.model_step is None:
        return False
    if not (spec.do_eval or spec.do_predict):
        return True
    if changed_flags(earlier, spec):
        return False
    same_rows = all(
        name in earlier.splits and earlier.splits[name].digest == split.report.digest
        for name, split in splits.items()
    )
    needed = result_names(spec) - {LOSS_PLOT}
    return same_rows and needed <= {*earlier.files}


def changed_flags(earlier: RunReport, spec: TrainingSpec) -> dict[str, Any]:
    """Flags in which `spec` differs from that of the report."""
    asked = spec.as_dict()
    return {
        name: value
        for name, value in asked.items()
        if name not in UNTOLD and value != earlier.spec.get(name)
    }


def what_changed(earlier: RunReport | None, spec: TrainingSpec) -> list[str]:
    """A sentence on the flags that come too late for a training that has finished."""
    flags = {flag.name: flag for flag in fields(spec)}
    late = changed_flags(earlier, spec) if earlier else {}
    late = {
        name: value for name, value in late.items() if flags[name].metadata["hashed"]
    }
    if earlier is None or not late:
        return []
    told = ", ".join(f"{n} was {earlier.spec.get(n)}, not {v}" for n, v in late.items())
    return [f"The steps stay as they were: {told}."]


def write_results(stage: Path, report: RunReport) -> None:
    """Into `stage`: the result files, the card of a model, and the report of it all."""
    for name in ACTIONS:
        own = {k: v for k, v in report.metrics.items() if k.startswith(f"{name}_")}
        if name == "train" and "epoch" in report.metrics:
            own = {"epoch": report.metrics["epoch"], **own}
        if own:
            write_json(stage / f"{name}_results.json", own)
    write_json(stage / ALL_RESULTS, report.metrics)
    if report.model_step is not None:
        (stage / CARD).write_text(model_card(report), encoding="utf-8")
        if report.spec["push_to_hub"]:
            plot_loss(report, stage / LOSS_PLOT)
    report.files = sorted({*report.files, *files_in(stage), REPORT_FILE})
    (stage / REPORT_FILE).write_text(report.as_json(), encoding="utf-8")
