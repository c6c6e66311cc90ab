"""The model card of a run: README.md in the output folder."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import ModelCardData

from reference_trainers.spec import TrainingSpec

SHOWN = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay"),
    *("per_device_train_batch_size", "gradient_accumulation_steps"),
    *("num_train_epochs", "max_steps", "label_smoothing_factor", "max_grad_norm"),
    *("source_prefix", "max_source_length", "max_target_length", "seed"),
)


def model_card(spec: TrainingSpec, trainer: str, metrics: dict[str, float]) -> str:
    """Front matter for the Hub, then what was trained on what, and how it did."""
    start = spec.model_name_or_path or f"a new {spec.model_type}"
    data = ModelCardData(
        base_model=None if Path(start).exists() else spec.model_name_or_path,
        datasets=[spec.dataset_name] if spec.dataset_name else None,
        library_name="transformers",
        pipeline_tag="summarization",
        tags=["summarization", "reference-trainers", trainer],
    )
    trained_on = spec.dataset_name or spec.train_file
    flags = "\n".join(f"- `{name}`: {getattr(spec, name)}" for name in SHOWN)
    results = "\n".join(f"| {name} | {value} |" for name, value in metrics.items())
    return (
        f"---\n{data.to_yaml()}\n---\n\n"
        f"# {start}, fine-tuned to summarize\n\n"
        f"Trained on `{trained_on}` by reference-trainers (`{trainer}`).\n\n"
        f"## Flags\n\n{flags}\n\n"
        f"## Results\n\n| metric | value |\n|---|---|\n{results}\n"
    )
