"""Fine-tunes with Keras 3 on TensorFlow, in the shared training loop (`loop.fit`).

    python run_summarization.py --model_name_or_path google-t5/t5-small \\
        --do_train --do_eval --dataset_name cnn_dailymail --dataset_config "3.0.0" \\
        --source_prefix "summarize: " --output_dir out --predict_with_generate

Here is what is compiled: one update, the loss of a batch, and the summaries of one.

On real papers, from a clone, with a tiny model and no network:

    python -m fixtures aclsum in && python -m fixtures tiny in/model --dropout 0
    python reference_trainers/tensorflow/run_summarization.py \\
        --model_name_or_path in/model --train_file in/train.csv --output_dir out \\
        --validation_file in/validation.csv --do_train --do_eval --max_steps 20 \\
        --learning_rate 1e-2 --max_source_length 64 --max_target_length 32

Expect a train_loss of 5.76621 and an eval_loss of 5.37066, as of the other scripts.
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.tensorflow import TRAINER

if __name__ == "__main__":  # before the imports below, which take seconds
    raise SystemExit(main(TRAINER))

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reference_trainers.data.batches import NO_TARGET, Arrays
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.recipe.decay import decays
from reference_trainers.spec import TrainingSpec
from reference_trainers.tensorflow.generate import generate
from reference_trainers.tensorflow.layers import copies
from reference_trainers.tensorflow.processes import (
    replica_of_process,
    replicas_of_process,
)

SUM = tf.distribute.ReduceOp.SUM


class AdamW(keras.optimizers.AdamW):
    """torch's AdamW; the learning rate is an input of the update."""

    def __init__(self, spec: TrainingSpec):
        rate = tf.Variable(
            np.zeros((), spec.dtype),
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().__init__(
            lambda: rate,
            np.float64(spec.weight_decay),  # a float would be cut to float32
            spec.adam_beta1,
            spec.adam_beta2,
            spec.adam_epsilon,
        )
        if not spec.weight_decay:
            self.weight_decay = None  # else Keras takes zeros off, a pass over memory
        self.rate = rate
        self.betas = np.array([spec.adam_beta1, spec.adam_beta2], spec.dtype)
        self.shared: dict[str, Any] = {}

    def begin(self, rate, applied=True):
        """Takes the rate of an update, and computes what all its variables share.

        One that is not `applied` has a rate of 0, and moments that keep all they had:
        tf.distribute allows no `tf.cond` around an update.
        """
        self.rate.assign(tf.where(applied, rate, 0))
        step = tf.cast(self.iterations + 1, self.rate.dtype)
        power1, power2 = (tf.pow(beta, step) for beta in self.betas)
        # Keras adds epsilon to the uncorrected root; torch to the corrected one.
        epsilon = tf.cast(np.float64(self.epsilon), step.dtype) * tf.sqrt(1 - power2)
        beta1, beta2 = (tf.where(applied, beta, 1) for beta in self.betas)
        self.iterations.assign_sub(tf.where(applied, 0, 1))  # `apply` adds 1
        self.shared = {
            **{"lr": tf.identity(self.rate), "beta1": beta1, "beta2": beta2},
            **{"beta1_power": power1, "beta2_power": power2, "epsilon": epsilon},
        }

    def update_step(self, gradient, variable, learning_rate):
        """Keras's step in one pass over memory, with torch's epsilon."""
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=gradient,
            **self.shared,
        )

    def exp_avg(self) -> dict[str, keras.Variable]:
        return dict(zip(self.names, self._momentums, strict=True))

    def exp_avg_sq(self) -> dict[str, keras.Variable]:
        return dict(zip(self.names, self._velocities, strict=True))


def adamw(spec: TrainingSpec, values) -> AdamW:
    """AdamW for variables by name; biases and norms do not decay."""
    optimizer = AdamW(spec)
    kept = [variable for name, variable in values.items() if not decays(name)]
    optimizer.exclude_from_weight_decay(var_list=kept)
    optimizer.build(list(values.values()))
    optimizer.names = list(values)
    return optimizer


def token_loss(network, batch: Arrays, smoothing: float, seed=None):
    """Summed smoothed token loss, scalar: (1 - e) x nll + e x mean over vocabulary.

    transformers' LabelSmoother (trainer_pt_utils.py). `seed` int32 (2,): with dropout.
    """
    logits, inner = copies(network(*batch[:3], seed=seed), 2)
    target = tf.maximum(batch.labels, 0)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
    if smoothing:
        chosen = tf.gather(inner, target, batch_dims=2)
        loss = loss + smoothing * (chosen - tf.reduce_mean(inner, axis=-1))
    return tf.reduce_sum(tf.where(batch.labels == NO_TARGET, tf.zeros_like(loss), loss))


def eval_step(network, batch: Arrays, *, spec: TrainingSpec):
    """The summed loss of this device's rows without dropout."""
    return token_loss(network, own_rows(batch), spec.label_smoothing_factor)


def generate_step(network, settings: GenerationSettings, *batch, spec: TrainingSpec):
    """What `generate` finds for this device's rows."""
    input_ids, attention_mask = own_rows(batch)
    return generate(network, input_ids, attention_mask, settings)


def own_rows(batch, axis: int = 0):
    """The rows of this device, of those of its process."""
    context = tf.distribute.get_replica_context()
    devices = replicas_of_process(context)
    if devices == 1:
        return batch

    def cut(array):
        rows = tf.shape(array)[axis] // devices
        first = replica_of_process(context) * rows
        return tf.gather(array, first + tf.range(rows), axis=axis)

    return tf.nest.map_structure(cut, batch)


def gradient(network, batch: Arrays, seed, factor=1, *, spec: TrainingSpec):
    """Summed loss of one micro-batch, times `factor`, and its gradient."""
    device = tf.distribute.get_replica_context().replica_id_in_sync_group
    key = tf.stack([seed, device])
    variables = [variable.value for variable in network.trainable_variables]
    with tf.GradientTape() as tape:
        loss = factor * token_loss(network, batch, spec.label_smoothing_factor, key)
    grads = tape.gradient(loss, variables)
    return [loss, *map(tf.convert_to_tensor, grads)]  # an embedding's is sparse


def update(
    network,
    optimizer: AdamW,
    batches: Arrays,
    seeds,
    tokens,
    scale,
    rate,
    *,
    spec: TrainingSpec,
):
    """One AdamW update on the whole averaged gradient; loss, norm before clipping.

    `batches` (micro-batches, rows, length), `seeds` (micro-batches,), `tokens` ():
    target tokens of all of them, `scale` (): of the loss, `rate` (). In fp16 a norm
    that is not finite leaves variables and moments as they were.
    """
    batches = own_rows(batches, axis=1)
    variables = network.trainable_variables
    # In fp16 the mean's gradient: that of one token in a sum would overflow by itself.
    factor, divisor = (scale / tokens, scale) if spec.fp16 else (1, tokens)

    def one(place):
        batch = Arrays(*(array[place] for array in batches))
        return gradient(network, batch, seeds[place], factor, spec=spec)

    if seeds.shape[0] == 1:
        total = one(0)
    else:
        start = [tf.zeros_like(tokens), *(tf.zeros_like(v.value) for v in variables)]
        _, total = tf.while_loop(
            lambda place, _: place < tf.size(seeds),
            lambda place, sums: (
                place + 1,
                tf.nest.map_structure(tf.add, sums, one(place)),
            ),
            (0, start),
        )
    # Keras would clip each device's own gradient: it is summed over devices first.
    context = tf.distribute.get_replica_context()
    total = context.all_reduce(SUM, total)
    loss, *grads = [value / divisor for value in total]
    norm = tf.linalg.global_norm(grads)
    clip = tf.ones_like(norm)
    if spec.max_grad_norm:
        clip = tf.minimum(clip, spec.max_grad_norm / (norm + 1e-6))
    # Keras sums over devices once more.
    clip /= context.num_replicas_in_sync
    grads = [grad * clip for grad in grads]
    applied = True
    if spec.fp16:
        applied = tf.math.is_finite(norm)
        grads = [tf.where(applied, grad, 0) for grad in grads]
    optimizer.begin(rate, applied)
    optimizer.apply(grads, variables)
    return loss, norm
