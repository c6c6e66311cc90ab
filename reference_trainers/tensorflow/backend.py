"""What the shared loop needs of Keras: one compiled update, evaluation, generation."""

from __future__ import annotations

import socket
from functools import cache, partial
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from reference_trainers.data.batches import Batch, GlobalBatch
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource, architecture
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.protocols import Backend, State, Update
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.spec import TrainingSpec
from reference_trainers.tensorflow.processes import all_processes, join, reduced
from reference_trainers.tensorflow.run_summarization import (
    adamw,
    eval_step,
    generate_step,
    update,
)
from reference_trainers.tensorflow.t5 import T5
from reference_trainers.world import World, world_of

ARCHITECTURES = {"t5": T5, "mt5": T5}
PATIENCE = 10.0  # seconds: a TPU that is there is a few milliseconds away


class TensorFlowBackend(Backend):
    """Keras and tf.distribute behind the `Backend` protocol."""

    uniform_batches = True

    def __init__(self, spec: TrainingSpec, source: ModelSource):
        self.spec = spec
        self.world = world_of()
        self.strategy = prepare(spec, self.world)
        self.devices = self.strategy.num_replicas_in_sync
        # XLA is slower than graph mode on a CPU, and fails on several GPUs.
        self.jit = self.device_kind not in ("cpu", "tpu") and self.devices == 1
        # TPUStrategy compiles with XLA by itself (this never ran on a TPU). In graph
        # mode one program serves all lengths; for XLA each is another one.
        self.xla = self.jit or self.device_kind == "tpu"
        self.pad_to_multiple_of = 64 if self.xla else 8
        with self.strategy.scope():
            self.network = network_of(spec, source)
            self.optimizer = adamw(spec, parameters(self.network))
        self.programs: dict[Any, Any] = {}
        self.loss_scale = LossScale() if spec.fp16 else None

    @classmethod
    def join(cls, world: World, spec: TrainingSpec) -> None:
        """By TF_CONFIG."""
        settle(spec)
        join(world)

    @classmethod
    def reduce(cls, values: np.ndarray) -> np.ndarray:
        return reduced(values)

    @classmethod
    def reach(cls, spec: TrainingSpec) -> None:
        """Connects to the TPU of the name that `spec` gives, before anything else."""
        tpu_system(spec.tpu)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        return cls(spec, source)

    @lost_processes_told(tf.errors.OpError)
    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        ((loss, norm), *_) = self.call(
            (update, self.optimizer),
            batch.stacked(),
            batch.seeds,
            np.array(batch.target_tokens, self.spec.dtype),
            np.array(self.scale, self.spec.dtype),
            np.array(learning_rate, self.spec.dtype),
        )
        return Update(loss, norm, self.applies(norm))

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        losses = self.call((eval_step,), batch.arrays)
        return sum(map(float, losses)), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        ids, mask = batch.arrays.input_ids, batch.arrays.attention_mask
        found = self.call((generate_step, settings), ids, mask)
        tokens = np.concatenate([tokens.numpy() for tokens, _ in found])
        length = max(int(length) for _, length in found)
        return tokens[: batch.rows, :length]

    def state(self) -> State:
        adam = self.optimizer
        updates = int(adam.iterations.numpy())
        moments = (adam.exp_avg(), adam.exp_avg_sq()) if updates else ({}, {})
        exp_avg, exp_avg_sq = map(copied, moments)
        values = copied(parameters(self.network))
        return State(values, exp_avg, exp_avg_sq, updates, self.loss_scale)

    def restore(self, state: State) -> None:
        self.loss_scale = state.loss_scale or self.loss_scale
        adam = self.optimizer
        held = parameters(self.network)
        for name, value in state.parameters.items():
            held[name].assign(np.asarray(value, self.spec.dtype))
        for variables, values in (
            (adam.exp_avg(), state.exp_avg),
            (adam.exp_avg_sq(), state.exp_avg_sq),
        ):
            for name, variable in variables.items():
                value = values.get(name, np.zeros(variable.shape))
                variable.assign(np.asarray(value, self.spec.dtype))
        adam.iterations.assign(state.updates)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        held = parameters(self.network)
        return {name: tuple(variable.shape) for name, variable in held.items()}

    def call(self, what: tuple, *inputs):
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
            program, input_signature=signature, autograph=False, jit_compile=self.jit
        )

    @property
    def device_kind(self) -> str:
        if self.spec.tpu is not None:
            return "tpu"
        gpus = tf.config.get_visible_devices("GPU")
        if not gpus:
            return "cpu"
        return tf.config.experimental.get_device_details(gpus[0])["device_name"]

    @property
    def compilations(self) -> int:
        """Programs compiled so far."""
        return len(self.programs)


def settle(spec: TrainingSpec) -> None:
    """Sets what TensorFlow has for the whole process."""
    # The same bits every time: kernels sum in order, and so does what calls them
    # (`layers.copies`; the arithmetic optimizer would join sums of two to an AddN).
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    # float32 is float32: accelerators would shorten its products to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if spec.use_cpu:
        tf.config.set_visible_devices([], "GPU")


def prepare(spec: TrainingSpec, world: World) -> tf.distribute.Strategy:
    """The devices to compute on: those of all processes, or all of this one."""
    if world.size > 1:
        return all_processes()
    settle(spec)
    if spec.tpu is not None:
        return tf.distribute.TPUStrategy(tpu_system(spec.tpu))
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return mirrored(tuple(device.name for device in devices))


@cache  # a second one would begin its collectives by the numbers of the first
def mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(devices)


@cache  # a process connects to a TPU once
def tpu_system(name: str) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    """The TPU of that name, ready; raises `InputError` where none answers."""
    waits = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # the resolver would wait for ever
    try:
        found = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        for addresses in found.cluster_spec().as_dict().values():
            for address in addresses:  # TensorFlow would try one again and again
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port))).close()
        tf.config.experimental_connect_to_cluster(found)
        tf.tpu.experimental.initialize_tpu_system(found)
    except Exception as error:  # Google's libraries raise what they like
        why = error
        if isinstance(error, tf.errors.OpError):  # its details are a page long
            why = ValueError(error.message.partition(". ")[0])
        raise InputError(
            f"--tpu {name}: no TPU answers: {sentence_of(why)} Leave --tpu out, or "
            "give the name of a TPU that this machine can reach."
        ) from error
    finally:
        socket.setdefaulttimeout(waits)
    return found


def network_of(spec: TrainingSpec, source: ModelSource) -> keras.Model:
    """The network of `model`; raises `InputError` for one that is not known."""
    build = architecture(spec, source, ARCHITECTURES, "TensorFlow")
    return build(
        source.config,
        source.weights(),
        spec.dtype,
        spec.compute_dtype,
        spec.gradient_checkpointing,
    )


def parameters(network: keras.Model) -> dict[str, keras.Variable]:
    """Variables by Hugging Face name."""
    return {variable.name: variable for variable in network.trainable_variables}


def copied(values) -> dict[str, np.ndarray]:
    """Arrays of the host's own: those of the device change with the next update."""
    return {name: np.array(value.numpy()) for name, value in values.items()}
