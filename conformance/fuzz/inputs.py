"""What sound runs of the fuzz read: a tiny model, rows, and what a run left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from conformance.fuzz.case import Inputs, command
from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl

SHAPE: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_heads": 2}
LAYERS: dict[str, Any] = {"num_layers": 1, "num_decoder_layers": 1}
# A run of four steps, and the checkpoints that it leaves when it is stopped
TRAINED: dict[str, Any] = {
    "do_train": True,
    "max_steps": 4,
    "save_strategy": "steps",
    "save_steps": 1,
}
KEPT = ("checkpoint-2", "checkpoint-3")


def inputs_in(top: Path) -> Inputs:
    """Where `build_inputs` puts them."""
    return Inputs(top / "model", top / "rows.jsonl", top / "stopped", top / "finished")


def build_inputs(top: Path) -> Inputs:
    """The same bytes every time, but for the times in a report."""
    inputs = inputs_in(top)
    tiny_t5(inputs.model, vocab_size=300, dropout_rate=0.0, **SHAPE, **LAYERS)
    write_jsonl(inputs.rows, ragged_rows(10, seed=3))
    flags = inputs.flags() | TRAINED | {"output_dir": str(inputs.finished)}
    places = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    made = subprocess.run(
        [sys.executable, "-m", "reference_trainers", *command(**flags)],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise RuntimeError(f"a sound run ends with {made.returncode}: {made.stderr}")
    for name in KEPT:
        shutil.copytree(inputs.finished / name, inputs.stopped / name)
    return inputs
