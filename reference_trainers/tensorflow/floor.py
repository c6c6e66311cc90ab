"""What the trainer is measured against: its model and batches in a bare compiled step.

The model is the trainer's own, and so is AdamW, in one pass over memory: Keras's own is
slower. It has a constant rate. Nothing is recorded, scheduled, scaled or resumed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from reference_trainers.data.batches import NO_TARGET, Arrays, GlobalBatch
from reference_trainers.models.source import ModelSource
from reference_trainers.spec import TrainingSpec
from reference_trainers.tensorflow.backend import network_of, parameters, settle
from reference_trainers.tensorflow.run_summarization import adamw


class BareStep:
    """One update on one device; called with a batch, it gives the loss."""

    def __init__(self, spec: TrainingSpec, source: ModelSource):
        settle(spec)
        network = network_of(spec, source)
        optimizer = adamw(spec, parameters(network))
        variables = network.trainable_variables
        rate = np.array(spec.learning_rate, spec.dtype)

        def step(arrays, key):
            with tf.GradientTape() as tape:
                logits = network(*arrays[:3], seed=key)
                targets = arrays.labels != NO_TARGET
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.maximum(arrays.labels, 0), logits
                )
                loss = tf.reduce_mean(tf.boolean_mask(loss, targets))
            grads = tape.gradient(loss, [variable.value for variable in variables])
            grads = list(map(tf.convert_to_tensor, grads))  # an embedding's is sparse
            if spec.max_grad_norm:
                grads, _ = tf.clip_by_global_norm(grads, spec.max_grad_norm)
            optimizer.begin(rate)
            optimizer.apply(grads, variables)
            return loss

        on_gpu = not spec.use_cpu and bool(tf.config.list_logical_devices("GPU"))
        # One program serves all lengths, but for XLA, which compiles each
        lengths = [[None, None]] * 4
        self.step = tf.function(
            step,
            autograph=False,
            jit_compile=on_gpu,
            input_signature=None
            if on_gpu
            else (
                Arrays(*(tf.TensorSpec(length, tf.int32) for length in lengths)),
                tf.TensorSpec([2], tf.int32),
            ),
        )

    def __call__(self, batch: GlobalBatch):
        arrays = Arrays(*map(tf.constant, batch.micro_batches[0].arrays))
        return self.step(arrays, tf.constant([batch.seeds[0], 0]))

    @property
    def compilations(self) -> int:
        return self.step.experimental_get_tracing_count()


def matmul(spec: TrainingSpec, size: int) -> Callable[[], object]:
    """What multiplies two square matrices in `spec.compute_dtype`, and waits."""
    settle(spec)
    ones = tf.ones((size, size), spec.compute_dtype)
    return lambda: tf.matmul(ones, ones)[0, 0].numpy()


STEPS = {"compiled": BareStep}
SEARCHES: dict = {}  # Keras has no generation of T5's
