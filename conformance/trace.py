"""The recorded float64 trace: what a run must do where transformers' own is not there.

    python -m conformance record fixtures/traces/float64.json

makes it with the `pytorch` trainer. The numbers are text, with every digit.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from conformance.profiles import PROFILES
from conformance.runs import Finished, Inputs, Runs, build_inputs
from conformance.subject import Subject
from conformance.workers import close_all
from reference_trainers import ORACLE, json_text, write_whole

TRACE = Path(__file__).parent.parent / "fixtures" / "traces" / "float64.json"
COMMAND = "python -m conformance record fixtures/traces/float64.json"
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
TRACED: dict[str, Any] = {
    **RECIPE,
    "max_steps": 100,
    "do_predict": True,
    "predict_with_generate": True,
    "num_beams": 4,
    "no_repeat_ngram_size": 3,
    "min_length": 5,
    "length_penalty": 2.0,
    "early_stopping": "true",
    "max_predict_samples": 16,
}

# Of each step, in the order in which the trace holds them
MEASURED = ("loss", "grad_norm", "learning_rate", "target_tokens")


def traced(inputs: Inputs) -> dict[str, Any]:
    """The flags of the traced run."""
    return {**TRACED, "model_name_or_path": str(inputs.deep_model)}


@dataclass(frozen=True)
class TracedStep:
    """What the trace holds of a step."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    target_tokens: float


@dataclass(frozen=True)
class Trace:
    """A run of the oracle: its steps, weights and predictions."""

    command: str
    versions: dict[str, str]
    data_digest: str
    steps: list[list[float]]
    """The quantities of `MEASURED` of each."""
    weights: dict[str, list[float]]
    """Of each parameter at the end: its norm, and its first and last value."""
    predictions: list[str]

    @classmethod
    def of(cls, made: Finished) -> Trace:
        lines = (made.folder / "predictions.jsonl").read_text(encoding="utf-8")
        weights = load_file(made.folder / "model.safetensors")
        return cls(
            command=COMMAND,
            versions=made.report.versions,
            data_digest=made.report.splits["train"].digest,
            steps=[[getattr(step, name) for name in MEASURED] for step in made.steps],
            weights={name: _sample(weights[name]) for name in sorted(weights)},
            predictions=[json.loads(line)["prediction"] for line in lines.splitlines()],
        )

    @classmethod
    def read(cls) -> Trace:
        return cls(**json.loads(TRACE.read_text(encoding="utf-8")))

    @property
    def traced_steps(self) -> list[TracedStep]:
        return [
            TracedStep(number, **dict(zip(MEASURED, values, strict=True)))
            for number, values in enumerate(self.steps)
        ]


def _sample(values: np.ndarray) -> list[float]:
    flat = values.ravel()
    return [float(np.linalg.norm(flat)), float(flat[0]), float(flat[-1])]


def record(path: Path) -> None:
    """Makes the trace anew, with the oracle on the CPU."""
    with tempfile.TemporaryDirectory() as top:
        inputs = build_inputs(Path(top) / "inputs")
        profile = PROFILES["cpu-float64"]
        runs = Runs(Subject.of(ORACLE), profile, inputs, Path(top) / "runs")
        try:
            trace = Trace.of(runs(**traced(inputs)))
        finally:
            close_all()
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json_text(vars(trace)))
