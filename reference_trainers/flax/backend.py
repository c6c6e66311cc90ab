"""What the shared loop needs of JAX: one compiled update, evaluation, generation."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from reference_trainers.data.batches import Batch, GlobalBatch, arrays, stacked
from reference_trainers.errors import InputError
from reference_trainers.flax.step import Training, adamw, answers, evaluated, update
from reference_trainers.flax.t5 import T5
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import State, Update
from reference_trainers.recipe.randomness import dropout_seed
from reference_trainers.spec import TrainingSpec

ARCHITECTURES = {"t5": T5, "mt5": T5}


class FlaxBackend:
    """Flax NNX and optax behind the `Backend` protocol."""

    pad_to_multiple_of = 64  # each length is a program to compile: 13 s at T5-small

    def __init__(self, spec: TrainingSpec, model: ModelSource):
        prepare(spec)
        self.spec = spec
        self.devices = len(jax.devices())
        mesh = jax.make_mesh((self.devices,), ("rows",), axis_types=(AxisType.Auto,))
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        by_row = NamedSharding(mesh, PartitionSpec("rows"))
        by_second = NamedSharding(mesh, PartitionSpec(None, "rows"))
        network = built(spec, model)
        self.optimizer = adamw(spec)
        self.training = self.placed(parameters(network), 0)
        same = self.everywhere
        build = builder(network)
        self.update = jax.jit(
            partial(update, build=build, optimizer=self.optimizer, spec=spec),
            in_shardings=(same, by_second, same, same, same),
            donate_argnums=0,
        )
        self.losses = jax.jit(
            partial(evaluated, build=build, spec=spec),
            in_shardings=(same, by_row),
        )
        self.answers = jax.jit(
            partial(answers, build=build),
            in_shardings=(same, by_row, by_row),
            static_argnums=3,
        )

    @classmethod
    def load(cls, spec: TrainingSpec, model: ModelSource) -> Self:
        return cls(spec, model)

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        parts = batch.micro_batches
        rows = self.spec.per_device_train_batch_size * self.devices
        seeds = [dropout_seed(self.spec.seed, step, i) for i in range(len(parts))]
        self.training, loss, norm = self.update(
            self.training,
            stacked(parts, rows),
            np.array(seeds, np.int32),
            np.array(batch.target_tokens, self.spec.dtype),
            np.array(learning_rate, self.spec.dtype),
        )
        return Update(loss, norm)

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        rows = self.spec.per_device_eval_batch_size * self.devices
        loss = self.losses(self.training.parameters, arrays(batch, rows))
        return float(loss), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        rows = self.spec.per_device_eval_batch_size * self.devices
        ids, mask = arrays(batch, rows)[:2]
        tokens, length = self.answers(self.training.parameters, ids, mask, settings)
        return np.asarray(tokens)[: len(batch.input_ids), : int(length)]

    def state(self) -> State:
        adam = self.training.moments[0]
        updates = int(adam.count)
        moments = (adam.mu, adam.nu) if updates else ({}, {})
        exp_avg, exp_avg_sq = map(copied, moments)
        values = copied(self.training.parameters)
        return State(values, exp_avg, exp_avg_sq, updates)

    def restore(self, state: State) -> None:
        self.training = self.placed(state.parameters, state.updates)
        if state.exp_avg:
            adam, *rest = self.training.moments
            mu, nu = self.typed(state.exp_avg), self.typed(state.exp_avg_sq)
            moments = (adam._replace(mu=mu, nu=nu), *rest)
            moments = jax.device_put(moments, self.everywhere)
            self.training = self.training._replace(moments=moments)

    def typed(self, values) -> dict[str, Any]:
        dtype = self.spec.dtype
        return {name: jnp.array(value, dtype) for name, value in values.items()}

    def placed(self, values, updates: int) -> Training:
        """`values` on every device, and moments of zero after so many updates."""
        values = self.typed(values)
        adam, *rest = self.optimizer.init(values)
        adam = adam._replace(count=jnp.array(updates, "int32"))
        return jax.device_put(Training(values, (adam, *rest)), self.everywhere)

    @property
    def device_kind(self) -> str:
        return jax.devices()[0].device_kind

    @property
    def compilations(self) -> int:
        """Programs compiled so far, or read from the cache on disk."""
        programs = (self.update, self.losses, self.answers)
        return sum(program._cache_size() for program in programs)


def prepare(spec: TrainingSpec) -> None:
    """Sets what JAX has for the whole process: devices, float64, the disk cache."""
    if spec.use_cpu:
        jax.config.update("jax_platforms", "cpu")
    if spec.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if jax.config.jax_compilation_cache_dir is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        folder = cache / "reference_trainers" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def built(spec: TrainingSpec, model: ModelSource) -> nnx.Module:
    """The network of `model`; raises `InputError` for one that is not known."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"--model_name_or_path {spec.model_name_or_path}: {kind} is not known to "
            f"the Flax trainer, which supports {known}. The PyTorch trainers know more."
        )
    compute = "bfloat16" if spec.bf16 else spec.dtype
    build = ARCHITECTURES[kind]
    return build(
        model.config, model.weights(), spec.dtype, compute, spec.gradient_checkpointing
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
    return {name: np.array(value) for name, value in values.items()}
