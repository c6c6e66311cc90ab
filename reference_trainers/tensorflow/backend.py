"""What the shared loop needs of Keras: one compiled update, evaluation, generation."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
import tensorflow as tf

from reference_trainers.data.batches import Batch, GlobalBatch, arrays, stacked
from reference_trainers.errors import InputError
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import State, Update
from reference_trainers.recipe.randomness import dropout_seed
from reference_trainers.spec import TrainingSpec
from reference_trainers.tensorflow.layers import keras
from reference_trainers.tensorflow.step import adamw, answers, evaluated, update
from reference_trainers.tensorflow.t5 import T5

ARCHITECTURES = {"t5": T5, "mt5": T5}


class TensorFlowBackend:
    """Keras and tf.distribute behind the `Backend` protocol."""

    def __init__(self, spec: TrainingSpec, model: ModelSource):
        self.spec = spec
        self.strategy = prepare(spec)
        self.devices = self.strategy.num_replicas_in_sync
        # XLA is slower than graph mode on a CPU, and fails on several devices.
        self.xla = self.device_kind != "cpu" and self.devices == 1
        # In graph mode one program serves all lengths; for XLA each is another one.
        self.pad_to_multiple_of = 64 if self.xla else 8
        with self.strategy.scope():
            self.network = built(spec, model)
            self.optimizer = adamw(spec, parameters(self.network))
        self.programs: dict[Any, Any] = {}

    @classmethod
    def load(cls, spec: TrainingSpec, model: ModelSource) -> Self:
        return cls(spec, model)

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        parts = batch.micro_batches
        rows = self.spec.per_device_train_batch_size * self.devices
        seeds = [dropout_seed(self.spec.seed, step, i) for i in range(len(parts))]
        ((loss, norm), *_) = self.run(
            (update, self.optimizer),
            stacked(parts, rows),
            np.array(seeds, np.int32),
            np.array(batch.target_tokens, self.spec.dtype),
            np.array(learning_rate, self.spec.dtype),
        )
        return Update(loss, norm)

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        rows = self.spec.per_device_eval_batch_size * self.devices
        losses = self.run((evaluated,), arrays(batch, rows))
        return sum(map(float, losses)), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        rows = self.spec.per_device_eval_batch_size * self.devices
        ids, mask = arrays(batch, rows)[:2]
        found = self.run((answers, settings), ids, mask)
        tokens = np.concatenate([tokens.numpy() for tokens, _ in found])
        length = max(int(length) for _, length in found)
        return tokens[: len(batch.input_ids), :length]

    def state(self) -> State:
        adam = self.optimizer
        updates = int(adam.iterations.numpy())
        moments = (adam.exp_avg(), adam.exp_avg_sq()) if updates else ({}, {})
        exp_avg, exp_avg_sq = map(copied, moments)
        values = copied(parameters(self.network))
        return State(values, exp_avg, exp_avg_sq, updates)

    def restore(self, state: State) -> None:
        adam = self.optimizer
        kept = (state.parameters, state.exp_avg, state.exp_avg_sq)
        held = (parameters(self.network), adam.exp_avg(), adam.exp_avg_sq())
        for variables, values in zip(held, kept, strict=True):
            for name, variable in variables.items():
                value = values.get(name, np.zeros(variable.shape))
                variable.assign(np.asarray(value, self.spec.dtype))
        adam.iterations.assign(state.updates)

    def run(self, what: tuple, *inputs):
        """What a function answers on each device; compiled once for each signature."""
        shapes = tuple(array.shape for array in tf.nest.flatten(inputs))
        if not self.xla:  # a length of 1 stays known: one micro-batch needs no sum
            shapes = tuple(tuple(n if n == 1 else None for n in s) for s in shapes)
        if (what, shapes) not in self.programs:
            self.programs[what, shapes] = self.compiled(what, shapes, inputs)
        return self.programs[what, shapes](*inputs)

    def compiled(self, what: tuple, shapes: tuple, inputs):
        function, *rest = what
        function = partial(function, self.network, *rest, spec=self.spec)
        types = [array.dtype for array in tf.nest.flatten(inputs)]
        specs = list(map(tf.TensorSpec, shapes, types))
        signature = tf.nest.pack_sequence_as(inputs, specs)

        def program(*inputs):
            answer = self.strategy.run(function, inputs)
            return self.strategy.experimental_local_results(answer)

        return tf.function(
            program, input_signature=signature, autograph=False, jit_compile=self.xla
        )

    @property
    def device_kind(self) -> str:
        gpus = tf.config.get_visible_devices("GPU")
        if not gpus:
            return "cpu"
        return tf.config.experimental.get_device_details(gpus[0])["device_name"]

    @property
    def compilations(self) -> int:
        """Programs compiled so far."""
        return len(self.programs)


def prepare(spec: TrainingSpec) -> tf.distribute.Strategy:
    """Sets what TensorFlow has for the whole process; the devices to compute on."""
    # The same bits every time, however many threads there are.
    tf.config.experimental.enable_op_determinism()
    # float32 is float32: accelerators would shorten its products to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if spec.use_cpu:
        tf.config.set_visible_devices([], "GPU")
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def built(spec: TrainingSpec, model: ModelSource) -> keras.Model:
    """The network of `model`; raises `InputError` for one that is not known."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"--model_name_or_path {spec.model_name_or_path}: {kind} is not known to "
            f"the TensorFlow trainer, which supports {known}. The PyTorch trainers "
            "know more."
        )
    compute = "bfloat16" if spec.bf16 else spec.dtype
    build = ARCHITECTURES[kind]
    return build(
        model.config, model.weights(), spec.dtype, compute, spec.gradient_checkpointing
    )


def parameters(network: keras.Model) -> dict[str, keras.Variable]:
    """Variables by Hugging Face name."""
    return {variable.name: variable for variable in network.trainable_variables}


def copied(values) -> dict[str, np.ndarray]:
    """Arrays of the host's own: those of the device change with the next update."""
    return {name: np.array(value.numpy()) for name, value in values.items()}
