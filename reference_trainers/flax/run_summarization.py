"""Fine-tunes with Flax NNX and optax, in the shared training loop (`loop.fit`).

    python run_summarization.py --model_name_or_path google-t5/t5-small \\
        --do_train --do_eval --dataset_name cnn_dailymail --dataset_config "3.0.0" \\
        --source_prefix "summarize: " --output_dir out --predict_with_generate

Here is what is compiled: one update, the loss of a batch, and the summaries of one.

On real papers, from a clone, with a tiny model and no network:

    python -m fixtures aclsum in && python -m fixtures tiny in/model --dropout 0
    python reference_trainers/flax/run_summarization.py \\
        --model_name_or_path in/model --train_file in/train.csv --output_dir out \\
        --validation_file in/validation.csv --do_train --do_eval --max_steps 20 \\
        --learning_rate 1e-2 --max_source_length 64 --max_target_length 32

Expect a train_loss of 5.76621 and an eval_loss of 5.37066, as of the other scripts.
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.flax import TRAINER

if __name__ == "__main__":  # before the imports below, which take seconds
    raise SystemExit(main(TRAINER))

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from reference_trainers.data.batches import NO_TARGET, Arrays
from reference_trainers.flax.generate import generate
from reference_trainers.recipe.decay import decays
from reference_trainers.spec import TrainingSpec


class TrainState(NamedTuple):
    """All that an update changes; arrays by Hugging Face name."""

    parameters: dict[str, Any]
    optimizer_state: Any


def adamw(spec: TrainingSpec) -> optax.GradientTransformation:
    """torch's AdamW but for the rate, which `update` is given; norms do not decay."""

    def mask(values):
        return {name: decays(name) for name in values}

    # Rounded first: optax takes 1 - beta of what it is given, but beta ** step of the
    # rounded one, and the first step would be off by 6e-6 of itself in float32.
    beta1, beta2 = np.array([spec.adam_beta1, spec.adam_beta2], spec.dtype).tolist()
    return optax.chain(
        optax.scale_by_adam(beta1, beta2, spec.adam_epsilon),
        optax.add_decayed_weights(spec.weight_decay, mask),
    )


def token_loss(network, batch: Arrays, smoothing: float, seed=None):
    """Summed smoothed token loss, scalar: (1 - e) x nll + e x mean over vocabulary.

    transformers' LabelSmoother (trainer_pt_utils.py). `seed` int32 (): with dropout.
    """
    logits = network(*batch[:3], seed)
    target = jnp.maximum(batch.labels, 0)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    if smoothing:
        chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
        loss = loss + smoothing * (chosen - jnp.mean(logits, axis=-1))
    return jnp.sum(jnp.where(batch.labels == NO_TARGET, 0, loss))


def eval_step(values, batch: Arrays, *, build, spec: TrainingSpec):
    """The summed loss of a batch without dropout."""
    return token_loss(build(values), batch, spec.label_smoothing_factor)


def generate_step(values, input_ids, attention_mask, settings, *, build):
    """What `generate` finds with these parameters."""
    return generate(build(values), input_ids, attention_mask, settings)


def gradient(values, batch: Arrays, seed, factor=1, *, build, spec: TrainingSpec):
    """Summed loss of one micro-batch, times `factor`, and its gradient."""

    def loss(values):
        network = build(values)
        return factor * token_loss(network, batch, spec.label_smoothing_factor, seed)

    return jax.value_and_grad(loss)(values)


def update(
    state: TrainState,
    batches: Arrays,
    seeds,
    tokens,
    scale,
    rate,
    *,
    build,
    optimizer,
    spec: TrainingSpec,
    constrained=lambda values, whole: values,
):
    """One AdamW update on the whole averaged gradient; loss, norm before clipping.

    `batches` (micro-batches, rows, length), `seeds` (micro-batches,), `tokens` ():
    target tokens of all of them, `scale` (): of the loss, `rate` (). In fp16 a norm
    that is not finite leaves the state as it was. `constrained`: see `Placement`.
    """
    # In fp16 the mean's gradient: that of one token in a sum would overflow by itself.
    factor, divisor = (scale / tokens, scale) if spec.fp16 else (1, tokens)
    one = partial(gradient, state.parameters, factor=factor, build=build, spec=spec)
    if len(seeds) == 1:
        total = one(Arrays(*(array[0] for array in batches)), seeds[0])
    else:
        start = jax.tree.map(jnp.zeros_like, (tokens, state.parameters))
        total, _ = jax.lax.scan(
            lambda sums, part: (jax.tree.map(jnp.add, sums, one(*part)), None),
            start,
            (batches, seeds),
        )
    loss, grads = jax.tree.map(lambda total: total / divisor, total)
    grads = constrained(grads, whole=False)
    norm = optax.tree.norm(grads)
    if spec.max_grad_norm:
        scale = jnp.minimum(1.0, spec.max_grad_norm / (norm + 1e-6))
        grads = jax.tree.map(lambda grad: grad * scale, grads)
    steps, optimizer_state = optimizer.update(
        grads, state.optimizer_state, state.parameters
    )
    values = jax.tree.map(lambda p, s: p - rate * s, state.parameters, steps)
    after = TrainState(values, optimizer_state)
    if spec.fp16:
        finite = jnp.isfinite(norm)
        after = jax.tree.map(partial(jnp.where, finite), after, state)
    return after, loss, norm
