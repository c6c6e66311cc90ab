"""The model card of a run: README.md in the output folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec

LOSS_PLOT = "loss.png"
SPLITS = {"eval": "validation", "predict": "test"}
HOW_IT_BEGAN = ("overwrite_output_dir", "resume_from_checkpoint")  # the end is one
METRICS = {"loss": "loss"} | dict.fromkeys(
    ("rouge1", "rouge2", "rougeL", "rougeLsum"), "rouge"
)
"""By name, as the Hub knows its type."""


def model_card(report: RunReport) -> str:
    """Front matter for the Hub, then what was trained on what, and how it did."""
    spec = TrainingSpec(**report.spec)
    start = spec.model_name_or_path or f"a new {spec.model_type}"
    data = ModelCardData(
        base_model=None if Path(start).exists() else spec.model_name_or_path,
        datasets=[spec.dataset_name] if spec.dataset_name else None,
        library_name="transformers",
        pipeline_tag="summarization",
        tags=["summarization", "reference-trainers", report.trainer],
        model_name=Path(spec.output_dir or "").name or "model",
        eval_results=[*results(spec, report)],
    )
    metrics = "\n".join(f"| {n} | {value} |" for n, value in report.metrics.items())
    versions = ", ".join(f"{n} {version}" for n, version in report.versions.items())
    plot = f"![Loss by step]({LOSS_PLOT})\n\n" if spec.push_to_hub else ""
    return (
        f"---\n{data.to_yaml()}\n---\n\n"
        f"# {start}, fine-tuned to summarize\n\n"
        f"Trained on `{trained_on(spec)}` by reference-trainers (`{report.trainer}`): "
        f"{report.total_steps} updates.\n\n{plot}"
        f"## Command\n\n```bash\n{command(report.trainer, spec)}\n```\n\n"
        f"{versions}\n\n"
        f"## Results\n\n| metric | value |\n|---|---|\n{metrics}\n"
    )


def results(spec: TrainingSpec, report: RunReport) -> Iterator[EvalResult]:
    """Each metric of a split of the data, as the Hub's model index lists them."""
    for prefix, split in SPLITS.items():
        source = spec.dataset_name or getattr(spec, f"{split}_file")
        for name, kind in METRICS.items():
            value = report.metrics.get(f"{prefix}_{name}")
            if value is not None and source is not None:
                yield EvalResult(
                    task_type="summarization",
                    dataset_type=spec.dataset_name or Path(source).suffix.lstrip("."),
                    dataset_name=Path(source).name,
                    dataset_config=spec.dataset_config_name,
                    dataset_split=split,
                    metric_type=kind,
                    metric_name=name,
                    metric_value=value,
                )


def trained_on(spec: TrainingSpec) -> str:
    """The dataset, with its configuration, or the file."""
    named = [spec.dataset_name, spec.dataset_config_name]
    return " ".join(name for name in named if name) or str(spec.train_file)


def command(trainer: str, spec: TrainingSpec) -> str:
    """What trains this model again: every flag that has not its default."""
    asked = spec.as_dict()
    for name in HOW_IT_BEGAN:
        del asked[name]
    lines = [f"python -m reference_trainers run --trainer {trainer}"]
    for flag in fields(spec):
        value = asked.get(flag.name)
        if value is None or value == flag.default:
            continue
        text = "" if value is True else f" {shlex.quote(str(value))}"
        lines.append(f"--{flag.name}{text}")
    return " \\\n    ".join(lines)
