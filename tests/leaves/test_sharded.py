"""`--fsdp full_shard`: a device holds its part, and gives the whole to the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fixtures.models import tiny_t5

# Prints the bytes of parameters and moments that a device holds, and whether a state
# that was taken over is given back bit for bit.
PROGRAM = """
import json, sys
import numpy as np
from reference_trainers import State, TrainingSpec, world_of
from reference_trainers.models.source import load_model

leaf, folder, fsdp = sys.argv[1:]
spec = TrainingSpec(
    model_name_or_path=folder, do_train=True, train_file="rows.csv", output_dir="out",
    use_cpu=True, fsdp=fsdp or None,
)
if leaf == "flax":
    import jax
    from reference_trainers.flax.backend import FlaxBackend as Backend
else:
    import torch
    from reference_trainers.pytorch.run_summarization_no_trainer import (
        AccelerateBackend as Backend,
    )
    from reference_trainers.pytorch.sharded import part
    Backend.join(world_of(), spec)
backend = Backend.load(spec, load_model(spec))
draw = np.random.default_rng(0)
given = [
    {n: draw.random(s, np.float32) for n, s in backend.shapes().items()}
    for _ in range(3)
]
backend.restore(State(*given, updates=5))
if leaf == "flax":
    arrays = jax.tree.leaves(backend.train_state)
    held = sum(array.addressable_shards[0].data.nbytes for array in arrays)
else:
    parameters = [*backend.model.parameters()]
    held = sum(part(each).nbytes for each in parameters)
    for each in parameters:
        moments = backend.optimizer().state[each]
        held += sum(part(moments[n]).nbytes for n in ("exp_avg", "exp_avg_sq"))
state = backend.state()
found = (state.parameters, state.exp_avg, state.exp_avg_sq)
same = all(
    theirs.keys() == ours.keys() and all((theirs[n] == ours[n]).all() for n in ours)
    for ours, theirs in zip(given, found)
)
if world_of().first:
    print(json.dumps([held, same, state.updates]))
"""
START = {
    "flax": [sys.executable, "-c"],
    "pytorch": [sys.executable, "-m", "conformance.processes", "2", "-c"],
}
LIBRARIES = {"flax": "jax", "pytorch": "torch"}


def held(leaf: str, folder: Path, fsdp: str) -> int:
    """Bytes of parameters and moments on one of two devices."""
    ended = subprocess.run(
        [*START[leaf], PROGRAM, leaf, str(folder), fsdp],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "2"},
    )
    assert ended.returncode == 0, ended.stderr
    size, same, updates = json.loads(ended.stdout)
    assert same and updates == 5
    return size


@pytest.mark.parametrize("leaf", START)
def test_a_device_holds_half_and_the_host_gets_all(leaf: str, tmp_path: Path) -> None:
    if find_spec(LIBRARIES[leaf]) is None:
        pytest.skip(f"not run: {LIBRARIES[leaf]} is not installed")
    tiny_t5(tmp_path)
    assert held(leaf, tmp_path, "full_shard") < 0.51 * held(leaf, tmp_path, "")
