"""A recorded trace: steps, weights and predictions of a float64 run, with its envelope.

Read without any framework; the numbers are text, with every digit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file

from conformance.runs import Finished
from conformance.tolerances import QUANTITIES, Tolerance, relative

FOLDER = Path(__file__).parents[2] / "fixtures" / "traces"
WEIGHTS = "model.safetensors"
# Of each parameter: what anyone can take from a weight, and what no fault leaves alone
SAMPLES = ("norm", "first value", "last value")
SIDES = ("shared", "encoder", "decoder")  # what comes after them is the head
Weights = dict[str, list[float]]


@dataclass(frozen=True)
class TracedStep:
    """What a trace holds of a step."""

    step: int
    row_ids: list[int]
    learning_rate: float
    target_tokens: int
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Envelope:
    """How far a float32 run may be from the trace, as a part of each number there."""

    derivation: dict[str, Any]
    """What was run, and by how much more is allowed than was seen."""
    loss: list[float]
    """Of each step; it never shrinks."""
    grad_norm: list[float]

    def at(self, step: int) -> Mapping[str, Tolerance]:
        """What a step may be off by; of a step that is too many, nothing."""
        if step >= len(self.loss):
            return {}
        return {
            "learning_rate": relative(RATE),
            "loss": relative(self.loss[step]),
            "grad_norm": relative(self.grad_norm[step]),
        }


# A trainer may hold the rate in float32, whose rounding is 6e-8
RATE = 1e-6


@dataclass(frozen=True)
class Trace:
    """A run of the oracle."""

    command: str
    spec: dict[str, Any]
    """Its flags; files are relative to the folder of the suite's inputs."""
    versions: dict[str, str]
    data_digest: str
    """Of the tokens; of use to trainers that share this project's data alone."""
    steps: list[TracedStep]
    weights: dict[int, Weights]
    """After so many updates, of each parameter, first to last: the `SAMPLES`."""
    predictions: list[str]
    float32_envelope: Envelope

    @classmethod
    def read(cls, name: str) -> Self:
        """The one of that name in `fixtures/traces`."""
        text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        content = json.loads(text)
        content["steps"] = [TracedStep(**step) for step in content["steps"]]
        content["weights"] = {int(n): w for n, w in content["weights"].items()}
        content["float32_envelope"] = Envelope(**content["float32_envelope"])
        return cls(**content)

    @property
    def early(self) -> int | None:
        """The update after which a checkpoint is held, too."""
        return next((at for at in self.weights if at < len(self.steps)), None)

    def as_json(self) -> str:
        """One line a step or parameter, so that a change of it can be read."""
        return _lines(asdict(self), depth=2) + "\n"


def _lines(content: Any, depth: int, indent: str = "") -> str:
    deeper = indent + " "
    if isinstance(content, dict) and depth:
        # Parameters are a level further down than steps
        parts = [
            f"{json.dumps(str(name))}: "
            f"{_lines(value, depth if name == 'weights' else depth - 1, deeper)}"
            for name, value in content.items()
        ]
        return _between("{", parts, "}", indent)
    if isinstance(content, list) and depth and content:
        return _between("[", [json.dumps(part) for part in content], "]", indent)
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _between(begin: str, parts: list[str], end: str, indent: str) -> str:
    inside = ",\n".join(f"{indent} {part}" for part in parts)
    return f"{begin}\n{inside}\n{indent}{end}"


# ---- what a trace holds of a run -----------------------------------------------------


def steps_of(made: Finished) -> list[TracedStep]:
    """The quantities of each step."""
    names = ("step", *QUANTITIES)
    return [TracedStep(**{n: getattr(step, n) for n in names}) for step in made.steps]


def weights_after(made: Finished, updates: int) -> Weights:
    """Samples of the weights of a checkpoint, or of the run's end."""
    folder = made.folder
    if updates < len(made.steps):
        folder = folder / f"checkpoint-{updates}"
    weights = load_file(folder / WEIGHTS)
    return {name: _samples(weights[name]) for name in sorted(weights, key=place)}


def predictions_of(made: Finished) -> list[str]:
    """The texts that it generated, row by row."""
    lines = (made.folder / "predictions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["prediction"] for line in lines.splitlines()]


def _samples(values: np.ndarray) -> list[float]:
    flat = values.ravel()
    return [float(np.linalg.norm(flat)), float(flat[0]), float(flat[-1])]


def place(name: str) -> tuple[int, list[str]]:
    """Where a parameter stands in the model: embedding, encoder, decoder, head."""
    side = name.partition(".")[0]
    rank = SIDES.index(side) if side in SIDES else len(SIDES)
    # Block 10 comes after block 9
    return rank, re.sub(r"\d+", lambda digits: digits[0].zfill(4), name).split(".")
