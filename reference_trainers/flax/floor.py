"""What the trainer is measured against: its model and batches in a bare compiled step.

The model is the trainer's own, the rest stock: optax's AdamW and clipping, at a
constant rate. Nothing is recorded, scheduled, scaled or resumed.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from reference_trainers.data.batches import NO_TARGET, GlobalBatch
from reference_trainers.flax.backend import builder, network_of, parameters, prepare
from reference_trainers.models.source import ModelSource
from reference_trainers.spec import TrainingSpec


class BareStep:
    """One update on one device; called with a batch, it gives the loss."""

    def __init__(self, spec: TrainingSpec, source: ModelSource):
        prepare(spec)
        network = network_of(spec, source)
        build = builder(network)
        optimizer = optax.chain(
            optax.clip_by_global_norm(spec.max_grad_norm),
            optax.adamw(spec.learning_rate, weight_decay=spec.weight_decay),
        )
        values = parameters(network)
        self.state = values, optimizer.init(values)

        def step(state, arrays, seed):
            values, moments = state

            def mean_loss(values):
                logits = build(values)(*arrays[:3], seed)
                targets = arrays.labels != NO_TARGET
                loss = optax.softmax_cross_entropy_with_integer_labels(
                    logits, jnp.maximum(arrays.labels, 0)
                )
                return jnp.sum(loss * targets) / jnp.sum(targets)

            loss, grads = jax.value_and_grad(mean_loss)(values)
            steps, moments = optimizer.update(grads, moments, values)
            return (optax.apply_updates(values, steps), moments), loss

        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self, batch: GlobalBatch):
        self.state, loss = self.step(
            self.state, batch.micro_batches[0].arrays, batch.seeds[0]
        )
        return loss

    @property
    def compilations(self) -> int:
        return self.step._cache_size()


def matmul(spec: TrainingSpec, size: int) -> Callable[[], object]:
    """What multiplies two square matrices in `spec.compute_dtype`, and waits."""
    prepare(spec)
    ones = jnp.ones((size, size), spec.compute_dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    return lambda: product(ones, ones).block_until_ready()


STEPS = {"compiled": BareStep}
SEARCHES: dict = {}  # JAX has no generation of its own
