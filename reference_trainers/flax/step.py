"""One update, the loss of a batch, and answers to one: what is compiled."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from reference_trainers.data.batches import NO_TARGET, Arrays
from reference_trainers.flax.generate import generate
from reference_trainers.recipe.decay import decays
from reference_trainers.spec import TrainingSpec


class Training(NamedTuple):
    """All that an update changes; arrays by Hugging Face name."""

    parameters: dict[str, Any]
    moments: Any


def adamw(spec: TrainingSpec) -> optax.GradientTransformation:
    """AdamW but for the learning rate, which `update` is given."""

    def mask(values):
        return {name: decays(name) for name in values}

    return optax.chain(
        optax.scale_by_adam(spec.adam_beta1, spec.adam_beta2, spec.adam_epsilon),
        optax.add_decayed_weights(spec.weight_decay, mask),
    )


def token_loss(network, batch: Arrays, smoothing: float, seed=None):
    """Summed smoothed token loss, scalar: (1 - e) x nll + e x mean over vocabulary."""
    logits = network(*batch[:3], seed)
    target = jnp.maximum(batch.labels, 0)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    if smoothing:
        chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
        loss = loss + smoothing * (chosen - jnp.mean(logits, axis=-1))
    return jnp.sum(jnp.where(batch.labels == NO_TARGET, 0, loss))


def evaluated(values, batch: Arrays, *, build, spec: TrainingSpec):
    """The loss of a batch without dropout."""
    return token_loss(build(values), batch, spec.label_smoothing_factor)


def answers(values, input_ids, attention_mask, settings, *, build):
    """What `generate` finds with these parameters."""
    return generate(build(values), input_ids, attention_mask, settings)


def gradient(values, batch: Arrays, seed, *, build, spec: TrainingSpec):
    """Summed loss of one micro-batch, and its gradient."""

    def loss(values):
        return token_loss(build(values), batch, spec.label_smoothing_factor, seed)

    return jax.value_and_grad(loss)(values)


def update(
    training: Training, batches: Arrays, seeds, tokens, rate, *, build, optimizer, spec
):
    """One AdamW update on the whole averaged gradient; loss, norm before clipping."""
    one = partial(gradient, training.parameters, build=build, spec=spec)
    if len(seeds) == 1:
        total = one(Arrays(*(array[0] for array in batches)), seeds[0])
    else:
        start = jax.tree.map(jnp.zeros_like, (tokens, training.parameters))
        total, _ = jax.lax.scan(
            lambda sums, part: (jax.tree.map(jnp.add, sums, one(*part)), None),
            start,
            (batches, seeds),
        )
    loss, grads = jax.tree.map(lambda total: total / tokens, total)
    norm = optax.tree.norm(grads)
    if spec.max_grad_norm:
        scale = jnp.minimum(1.0, spec.max_grad_norm / (norm + 1e-6))
        grads = jax.tree.map(lambda grad: grad * scale, grads)
    steps, moments = optimizer.update(grads, training.moments, training.parameters)
    values = jax.tree.map(lambda p, s: p - rate * s, training.parameters, steps)
    return Training(values, moments), loss, norm
