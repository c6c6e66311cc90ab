"""Flax's update is compiled for a TPU, which this machine need not have.

libtpu holds the whole compiler: `tox run -e flax-tpu-compile` installs it. Nothing is
computed: what is looked at is the program, with 2 x 2 chips of a TPU v5e.
"""

from __future__ import annotations

import os
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("libtpu") is None or find_spec("jax") is None:
    pytest.skip(
        "not run: libtpu is not installed; tox run -e flax-tpu-compile does it",
        allow_module_level=True,
    )
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else it asks a cloud where it is

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from fixtures.models import small_t5
from reference_trainers import TrainingSpec
from reference_trainers.data.batches import Arrays
from reference_trainers.flax.backend import (
    builder,
    network_of,
    parameters,
    update_program,
)
from reference_trainers.flax.placement import ROWS, Placement
from reference_trainers.flax.run_summarization import TrainState, adamw
from reference_trainers.models.source import load_model

CHIPS, ROWS_EACH, SOURCE, TARGET = 4, 2, 128, 64
MEMORY = 16 << 30  # bytes of a chip of v5e
ALL = re.compile(
    r"replica_groups=(\{\{0,1,2,3\}\}|\[1,4\]<=\[4\]|mesh\['\w+'=4\] \{'\w+'\})"
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for the chips' tiles; T5-small itself compiles for minutes."""
    shape: dict[str, Any] = {
        "num_layers": 2,
        "d_model": 128,
        "d_ff": 256,
        "num_heads": 2,
    }
    folder = tmp_path_factory.mktemp("model")
    return small_t5(folder, vocab_size=2048, **shape)


@pytest.fixture(scope="module", params=["replicated", "sharded"])
def compiled(request: pytest.FixtureRequest, small: Path) -> tuple[str, Any, Any]:
    """Kind, the compiled update, and the state that it takes."""
    sharded = request.param == "sharded"
    spec = TrainingSpec(
        model_name_or_path=str(small),
        bf16=True,
        do_train=True,
        output_dir="out",
        train_file="rows.csv",
        fsdp="full_shard" if sharded else None,
    )
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    placement = Placement(sharded, list(topology.devices))
    network = network_of(spec, load_model(spec))
    optimizer = adamw(spec)
    values = parameters(network)
    state = TrainState(values, jax.eval_shape(optimizer.init, values))
    state = jax.tree.map(
        lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=placement.of(v)),
        state,
    )
    program = update_program(spec, builder(network), optimizer, state, placement)
    lowered = program.lower(state, *inputs(placement))
    return request.param, lowered.compile(), state


def inputs(placement: Placement) -> list[Any]:
    """Batch, seeds, tokens, scale and rate of one update."""
    rows = NamedSharding(placement.mesh, PartitionSpec(None, ROWS))
    array = partial(jax.ShapeDtypeStruct, sharding=rows, dtype=np.int32)
    shapes = [(1, CHIPS * ROWS_EACH, length) for length in (SOURCE, TARGET)]
    source, target = map(array, shapes)
    number = partial(jax.ShapeDtypeStruct, sharding=placement.everywhere)
    scalars = [number((), np.float32)] * 3
    batch = Arrays(source, source, target, target)
    return [batch, number((1,), np.int32), *scalars]


def bytes_of(state: Any, devices: int) -> int:
    return sum(v.size * v.dtype.itemsize for v in jax.tree.leaves(state)) // devices


def test_gradients_are_summed_in_groups_over_all_chips(compiled: Any) -> None:
    kind, program, state = compiled
    sums = re.findall(
        r".* (?:all-reduce|reduce-scatter)(?:-start)?\(.*", program.as_text()
    )
    print(kind, len(sums), "sums of", len(state.parameters), "parameters")
    assert sums
    assert all(ALL.search(each) for each in sums)
    if kind == "replicated":  # those of matrices in bfloat16, and all others
        assert len(sums) == 2
    assert len(sums) <= len(state.parameters) // 4


def test_the_state_is_donated(compiled: Any) -> None:
    _, program, state = compiled
    header = program.as_text().partition("\n")[0]
    aliases = header.count("may-alias") + header.count("must-alias")
    assert aliases == len(jax.tree.leaves(state))


def test_its_memory_fits_a_chip(compiled: Any) -> None:
    kind, program, state = compiled
    needs = program.memory_analysis()
    peak = needs.argument_size_in_bytes + needs.temp_size_in_bytes
    print(kind, f"arguments {needs.argument_size_in_bytes:,}, peak {peak:,} bytes")
    own = bytes_of(state, CHIPS if kind == "sharded" else 1)
    assert needs.argument_size_in_bytes < 1.05 * own + (1 << 20)
    assert peak < MEMORY
