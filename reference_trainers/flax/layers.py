"""The layers that encoder-decoder models in Flax NNX are built from."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from reference_trainers.recipe.randomness import (
    LAST_SHIFT,
    LEVELS,
    MIX,
    STEP,
    dropped_levels,
)


class Parts:
    """What layers are made of: sizes, weights by name, types, places for dropout."""

    def __init__(self, config, weights, dtype: str, compute_dtype: str):
        self.config = config
        self.weights = weights
        self.dtype = dtype
        self.compute_dtype = compute_dtype
        # A T5's last product of a feed-forward overflows float16: as transformers'
        # T5PreTrainedModel._keep_in_fp32_modules has it
        half = compute_dtype == "float16"
        self.wide_dtype = dtype if half else compute_dtype
        self.places = itertools.count()

    def parameter(self, layer: nnx.Module, name: str) -> nnx.Param:
        """The weight `name`, laid out as torch has it: (outputs, inputs)."""
        return nnx.Param(jnp.array(self.weights[name], self.dtype), hf_name=name)


def product(a, b, compute_dtype: str, transpose_b: bool = False):
    """a @ b in `compute_dtype`, given back in the type of `a`."""
    left, right = a.astype(compute_dtype), b.astype(compute_dtype)
    # Without `precision`, accelerators shorten float32 products to 8 or 10 bits.
    right = right.swapaxes(-1, -2) if transpose_b else right
    return jnp.matmul(left, right, precision="highest").astype(a.dtype)


class Dropout(nnx.Module):
    """Zeroes a share of its input; which part is a function of (seed, place)."""

    def __init__(self, parts: Parts):
        self.dropped = dropped_levels(parts.config.dropout_rate)
        self.place = next(parts.places)

    def __call__(self, x, seed):
        if seed is None or not self.dropped:
            return x
        kept = levels(x.shape, seed, self.place) >= jnp.uint16(self.dropped)
        return jnp.where(kept, x * (LEVELS / (LEVELS - self.dropped)), 0)


def levels(shape, seed, place):
    """Hashes of the coordinates of an array of `shape`, uint16: see randomness.py."""
    *outer, inner = shape
    value = folded(seed.astype("uint32"), jnp.uint32(place))
    for length in (*outer, (inner + 1) // 2):
        value = folded(value[..., None], jnp.arange(length, dtype="uint32"))
    halves = jax.lax.bitcast_convert_type(value, "uint16")
    return halves.reshape(*outer, -1)[..., :inner]


def folded(value, number):
    """One well-mixed uint32 that depends on both."""
    value = value + number * jnp.uint32(STEP)
    for shift, factor in MIX:
        value = (value ^ (value >> jnp.uint32(shift))) * jnp.uint32(factor)
    return value ^ (value >> jnp.uint32(LAST_SHIFT))


class Linear(nnx.Module):
    """A product with a weight (outputs, inputs); no bias."""

    def __init__(self, parts: Parts, name: str, computes_in: str | None = None):
        self.weight = parts.parameter(self, name)
        self.computes_in = computes_in or parts.compute_dtype

    def __call__(self, x):
        return product(x, self.weight[...], self.computes_in, transpose_b=True)


class Norm(nnx.Module):
    """Root mean square norm: no mean is taken off, no bias added."""

    def __init__(self, parts: Parts, name: str):
        self.weight = parts.parameter(self, name)
        self.epsilon = parts.config.layer_norm_epsilon

    def __call__(self, x):
        variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        return self.weight[...] * (x * jax.lax.rsqrt(variance + self.epsilon))


def gelu_new(x):
    """Hugging Face's `gelu_new`, term by term."""
    return 0.5 * x * (1 + jnp.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def put(cache, new, at, axis: int):
    """`cache` (rows, heads, ...) with `new` at place `at` of the length, its `axis`."""
    return jax.lax.dynamic_update_slice_in_dim(cache, new, at, axis=axis)


def checkpointed(block):
    """`block`, whose inner values are computed again for its gradient."""
    return jax.checkpoint(block)
