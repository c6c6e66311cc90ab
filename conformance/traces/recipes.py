"""The runs that are traced, as flags: each exercises what the others leave out."""

from __future__ import annotations

from typing import Any

from conformance.profiles import PRECISION_FLAGS, PROFILES
from conformance.runs import STANDARD, Inputs

FLOAT64 = PROFILES["cpu-float64"]
# Everything that could differ between two optimizers, schedules or ways to average
RECIPE: dict[str, Any] = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "warmup_steps": 10,
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.1,
    "max_grad_norm": 1.5,  # clips some of the steps, not all
    "learning_rate": 2e-3,
    "label_smoothing_factor": 0.1,
    "max_train_samples": 50,
}
# The rate of the first step is 0, so these are the weights after one true update:
# what differs then differs by its own fault, not by what an earlier step spoiled
SAVED: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}
RECIPES: dict[str, dict[str, Any]] = {
    # A hundred steps, and beam search at their end
    "recipe": {
        **RECIPE,
        "model_name_or_path": "deep_model",
        "max_steps": 100,
        "do_predict": True,
        "predict_with_generate": True,
        "num_beams": 4,
        "no_repeat_ngram_size": 3,
        "min_length": 5,
        "length_penalty": 2.0,
        "early_stopping": "true",
        "max_predict_samples": 16,
    },
    # Whole epochs and a half one, whose last batches are short; nothing is clipped,
    # smoothed or decayed; long rows are cut
    "epochs": {
        **SAVED,
        "model_name_or_path": "model",
        "per_device_train_batch_size": 4,
        "max_train_samples": 22,
        "num_train_epochs": 4.5,
        "max_steps": -1,
        "warmup_steps": 1,
        "lr_scheduler_type": "linear",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "max_source_length": 24,
        "max_target_length": 8,
        "seed": 7,
    },
    # T5 v1.1: gated GELU and a head of its own; other moments, a decay that bites, and
    # updates whose last group of micro-batches is short
    "gated": {
        **SAVED,
        "model_name_or_path": "gated_model",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "max_train_samples": 20,
        "max_steps": 24,
        "warmup_steps": 1,
        "lr_scheduler_type": "polynomial",
        "weight_decay": 0.3,
        "adam_beta1": 0.8,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 12.0,  # clips some of them, here, too
        "source_prefix": "summarize: ",
    },
}
FILES = ("model_name_or_path", "train_file", "validation_file", "test_file")


def spec_of(name: str) -> dict[str, Any]:
    """Every flag of a traced run; files are relative to the folder of the inputs."""
    rows = dict.fromkeys(FILES[1:], "rows.jsonl")
    return {**STANDARD, **rows, **FLOAT64.flags, **RECIPES[name]}


def flags_of(spec: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    """The flags of that run here, but for those that a profile decides."""
    top = inputs.rows.parent
    kept = {flag: value for flag, value in spec.items() if flag not in PRECISION_FLAGS}
    return kept | {flag: str(top / kept[flag]) for flag in FILES}
