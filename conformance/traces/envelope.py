"""How far a float32 run may be from a trace: measured, and widened for a reason.

The oracle runs the recipe in float32 several times, each of them rounding otherwise:
as it is; with the rows of an update cut into other micro-batches; from weights that
are off by one unit in the last place, in a random half of them, by several seeds. All
these are right float32 runs of one recipe. What is furthest from the float64 trace, up
to a step, times `FACTOR`, is what any float32 run may be off by at that step.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from conformance.runs import BATCH, Finished, Runs
from conformance.traces.recipes import flags_of
from conformance.traces.trace import WEIGHTS, Envelope, TracedStep

ACCUMULATION = "gradient_accumulation_steps"
MODEL = "model_name_or_path"
SEEDS = 8
# Another library or processor adds in blocks of another size, and rounds the last bit
# of an exponential otherwise. The trainers here come to two and a half times what the
# runs of the oracle show; ten leaves room for processors that were not measured, and a
# layer norm with 1e-5 in place of 1e-6 is still seen
FACTOR = 10.0
# A number that a float32 run reports is no nearer than that by more than luck: one unit
# in the last place
LEAST = 2.0**-23


def envelope(
    spec: dict[str, Any], steps: Sequence[TracedStep], runs: Runs, top: Path
) -> Envelope:
    """Of the trace with these steps; `runs` are the oracle's in float32."""
    off: dict[str, list[np.ndarray]] = {"loss": [], "grad_norm": []}
    told = []
    for what, made in float32_runs(spec, runs, top):
        told.append(what)
        for quantity, seen in off.items():
            found = np.array([getattr(step, quantity) for step in made.steps])
            wanted = np.array([getattr(step, quantity) for step in steps])
            seen.append(np.abs(found - wanted) / np.abs(wanted))
    allowed = {name: _widened(np.max(seen, axis=0)) for name, seen in off.items()}
    return Envelope({"runs": told, "factor": FACTOR, "least": LEAST}, **allowed)


def float32_runs(
    spec: dict[str, Any], runs: Runs, top: Path
) -> Iterator[tuple[str, Finished]]:
    """Runs that round otherwise, each with what is different about it."""
    flags = flags_of(spec, runs.inputs)
    yield "as it is", runs(**flags)
    rows, parts = flags[BATCH], flags.get(ACCUMULATION, 1)
    for batch in sorted({1, rows * parts} - {rows}):
        cut = {**flags, BATCH: batch, ACCUMULATION: rows * parts // batch}
        yield f"{batch} rows in a micro-batch", runs(**cut)
    for seed in range(SEEDS):
        model = nudged(Path(flags[MODEL]), top / f"nudged-{seed}", seed)
        yield (
            f"weights off by a last bit, seed {seed}",
            runs(**flags | {MODEL: str(model)}),
        )


def nudged(model: Path, folder: Path, seed: int) -> Path:
    """The same model with a random half of its weights one float32 up or down."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    chance = np.random.default_rng(seed)
    weights = load_file(model / WEIGHTS)
    for name in sorted(weights):
        values = weights[name]
        towards = np.where(chance.random(values.shape) < 0.5, np.inf, -np.inf)
        moved = np.nextafter(values, towards.astype(np.float32))
        weights[name] = np.where(chance.random(values.shape) < 0.5, moved, values)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def _widened(seen: np.ndarray) -> list[float]:
    """The largest so far, times the factor; two digits are all that it is worth."""
    largest = FACTOR * np.maximum.accumulate(np.maximum(seen, LEAST))
    return [float(f"{value:.1e}") for value in largest]
