"""Makes traces anew: `python -m conformance record fixtures/traces/*.json`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from conformance.profiles import PROFILES
from conformance.runs import Inputs, Runs, build_inputs
from conformance.subject import Subject
from conformance.traces.envelope import envelope
from conformance.traces.recipes import FLOAT64, RECIPES, flags_of, spec_of
from conformance.traces.trace import (
    Trace,
    predictions_of,
    steps_of,
    weights_after,
)
from conformance.workers import close_all
from reference_trainers import ORACLE, InputError, write_whole

FLOAT32 = PROFILES["cpu"]


def record(paths: Sequence[Path]) -> None:
    """Writes the trace that each file is named after, with the oracle on the CPU."""
    for path in paths:
        if path.stem not in RECIPES:
            known = ", ".join(f"{name}.json" for name in RECIPES)
            raise InputError(f"{path}: there is no such trace; there are: {known}.")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        cache = mock.patch.dict("os.environ", HF_DATASETS_CACHE=str(top / "cache"))
        with cache:
            inputs = build_inputs(top / "inputs")
            try:
                for path in paths:
                    trace = traced(path.stem, inputs, top / path.stem)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_whole(path, trace.as_json())
            finally:
                close_all()


def traced(name: str, inputs: Inputs, top: Path) -> Trace:
    """Runs the oracle in float64, and in float32 for the envelope."""
    spec = spec_of(name)
    oracle = Subject.of(ORACLE)
    made = Runs(oracle, FLOAT64, inputs, top)(**flags_of(spec, inputs))
    steps = steps_of(made)
    saved = [spec["save_steps"]] if "save_steps" in spec else []
    return Trace(
        command=f"python -m conformance record fixtures/traces/{name}.json",
        spec=spec,
        versions=made.report.versions,
        data_digest=made.report.splits["train"].digest,
        steps=steps,
        weights={at: weights_after(made, at) for at in (*saved, len(steps))},
        predictions=predictions_of(made) if spec.get("do_predict") else [],
        float32_envelope=envelope(spec, steps, Runs(oracle, FLOAT32, inputs, top), top),
    )
