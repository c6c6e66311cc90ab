"""What the shared loop needs of JAX: one compiled update, evaluation, generation."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Self

import jax
import numpy as np
from flax import nnx

from reference_trainers.data.batches import Batch, GlobalBatch
from reference_trainers.flax.placement import Placement, on_host
from reference_trainers.flax.processes import join, reduced
from reference_trainers.flax.run_summarization import (
    TrainState,
    adamw,
    eval_step,
    generate_step,
    update,
)
from reference_trainers.flax.t5 import T5
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource, architecture
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.protocols import Backend, State, Update
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.spec import TrainingSpec
from reference_trainers.world import World, world_of

ARCHITECTURES = {"t5": T5, "mt5": T5}


class FlaxBackend(Backend):
    """Flax NNX and optax behind the `Backend` protocol."""

    pad_to_multiple_of = 64  # each length is a program to compile
    uniform_batches = True

    def __init__(self, spec: TrainingSpec, source: ModelSource):
        prepare(spec)
        self.spec = spec
        self.world = world_of()
        self.placement = Placement(sharded=bool(spec.fsdp))
        self.devices = self.placement.devices
        network = network_of(spec, source)
        self.optimizer = adamw(spec)
        self.train_state = self.begun(parameters(network), 0)
        self.loss_before = None
        self.loss_scale = LossScale() if spec.fp16 else None
        build = builder(network)
        self.update = update_program(
            *(spec, build, self.optimizer, self.train_state, self.placement)
        )
        self.eval_step = jax.jit(partial(eval_step, build=build, spec=spec))
        self.generate_step = jax.jit(
            partial(generate_step, build=build), static_argnums=3
        )

    @classmethod
    def join(cls, world: World, spec: TrainingSpec) -> None:
        """By the variables of `jax.distributed`."""
        prepare(spec)
        join(world)

    @classmethod
    def reduce(cls, values: np.ndarray) -> np.ndarray:
        return reduced(values)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        return cls(spec, source)

    @lost_processes_told(ValueError, jax.errors.JaxRuntimeError)
    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        self.train_state, loss, norm = self.update(
            self.train_state,
            self.placement.micro_batches(batch.stacked()),
            batch.seeds,
            np.array(batch.target_tokens, self.spec.dtype),
            np.array(self.scale, self.spec.dtype),
            np.array(learning_rate, self.spec.dtype),
        )
        # JAX would queue dozens of updates, and a stop or a NaN would wait for them all
        jax.block_until_ready(self.loss_before)
        self.loss_before = loss
        return Update(loss, norm, self.applies(norm))

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        values = self.placement.whole(self.train_state.parameters)
        loss = self.eval_step(values, self.placement.batch(batch.arrays))
        return float(loss), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        values = self.placement.whole(self.train_state.parameters)
        rows = self.placement.batch(batch.arrays)
        tokens, length = self.generate_step(
            values, rows.input_ids, rows.attention_mask, settings
        )
        return np.asarray(tokens)[: batch.rows, : int(length)]

    def state(self) -> State:
        adam = self.train_state.optimizer_state[0]
        updates = int(adam.count)
        moments = (adam.mu, adam.nu) if updates else ({}, {})
        exp_avg, exp_avg_sq = map(copied, moments)
        values = copied(self.train_state.parameters)
        return State(values, exp_avg, exp_avg_sq, updates, self.loss_scale)

    def restore(self, state: State) -> None:
        self.loss_scale = state.loss_scale or self.loss_scale
        values = {**self.train_state.parameters, **state.parameters}
        self.train_state = self.begun(values, state.updates)
        if state.exp_avg:
            adam, *rest = self.train_state.optimizer_state
            mu, nu = self.typed(state.exp_avg), self.typed(state.exp_avg_sq)
            placed = self.placement.placed({"mu": mu, "nu": nu})
            moments = (adam._replace(**placed), *rest)
            self.train_state = self.train_state._replace(optimizer_state=moments)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: value.shape for n, value in self.train_state.parameters.items()}

    def typed(self, values) -> dict[str, np.ndarray]:
        dtype = self.spec.dtype
        return {name: np.asarray(value, dtype) for name, value in values.items()}

    def begun(self, values, updates: int) -> TrainState:
        """`values` on the devices, and moments of zero after so many updates."""
        values = self.typed(values)
        adam, *rest = self.optimizer.init(values)
        adam = adam._replace(count=np.array(updates, np.int32))
        return self.placement.placed(TrainState(values, (adam, *rest)))

    @property
    def device_kind(self) -> str:
        return jax.devices()[0].device_kind

    @property
    def compilations(self) -> int:
        """Programs compiled so far, or read from the cache on disk."""
        programs = (self.update, self.eval_step, self.generate_step)
        return sum(program._cache_size() for program in programs)


def update_program(
    spec: TrainingSpec, build, optimizer, state: TrainState, placement: Placement
):
    """The compiled `update`: its state stays where it lies, and is not kept twice."""
    lies = jax.tree.map(placement.of, state)

    def build_whole(values):
        return build(placement.constrained(values, whole=True))

    return jax.jit(
        partial(
            update,
            build=build_whole,
            optimizer=optimizer,
            spec=spec,
            constrained=placement.constrained,
        ),
        out_shardings=(lies, placement.everywhere, placement.everywhere),
        donate_argnums=0,
    )


def prepare(spec: TrainingSpec) -> None:
    """Sets what JAX has for the whole process: devices, float64, the disk cache."""
    if spec.use_cpu:
        jax.config.update("jax_platforms", "cpu")
    # Set for each run: a process may run one in float64 and then one in float32.
    jax.config.update("jax_enable_x64", spec.dtype == "float64")
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        folder = cache / "reference_trainers" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def network_of(spec: TrainingSpec, source: ModelSource) -> nnx.Module:
    """The network of `model`; raises `InputError` for one that is not known."""
    build = architecture(spec, source, ARCHITECTURES, "Flax")
    return build(
        source.config,
        source.weights(),
        spec.dtype,
        spec.compute_dtype,
        spec.gradient_checkpointing,
    )


def parameters(network: nnx.Module) -> dict[str, jax.Array]:
    """Arrays by Hugging Face name."""
    flat = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {parameter.hf_name: parameter[...] for _, parameter in flat}


def builder(network: nnx.Module):
    """A function from parameters, traced or not, to a network of its own."""
    graph, state = nnx.split(network)
    # Names alone are kept: the arrays belong to the training state, which donates them.
    names = [(path, leaf.hf_name) for path, leaf in nnx.to_flat_state(state)]

    def build(values):
        leaves = [(path, nnx.Param(values[name])) for path, name in names]
        return nnx.merge(graph, nnx.from_flat_state(leaves))

    return build


def copied(values) -> dict[str, np.ndarray]:
    """Arrays of the host's own: those of the device are donated to the next update."""
    return {name: on_host(value) for name, value in values.items()}
