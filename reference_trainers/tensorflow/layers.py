"""The layers that encoder-decoder models in Keras are built from."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import tensorflow as tf

from reference_trainers.recipe.randomness import (
    LAST_SHIFT,
    LEVELS,
    MIX,
    STEP,
    dropped_levels,
)

FEW = 16  # queries at a time, as in a step of a search
VERY_FEW = 8  # rows of them; measured with 512 to 32,128 columns


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

    def parameter(self, layer: keras.Layer, name: str) -> keras.Variable:
        """The weight `name`, laid out as torch has it: (outputs, inputs)."""
        value = np.asarray(self.weights[name], self.dtype)
        return layer.add_weight(
            name=name,
            shape=value.shape,
            dtype=self.dtype,
            initializer=lambda shape, dtype: tf.constant(value),
        )


def product(a, b, compute_dtype: str, transpose_b: bool = False):
    """a @ b in `compute_dtype`, given back in the type of `a`."""
    left, right = rounded(a, compute_dtype), rounded(b, compute_dtype)
    if len(right.shape) == 2:  # a weight: one product for the whole batch
        outer, left = tf.shape(left)[:-1], tf.reshape(left, (-1, left.shape[-1]))
        if transpose_b and a.shape[-2] is not None and a.shape[-2] <= FEW:
            flat = product_of_few(left, right)
        else:
            flat = tf.matmul(left, right, transpose_b=transpose_b)
        flat = tf.cast(flat, a.dtype)
        return tf.reshape(flat, tf.concat((outer, (flat.shape[-1],)), axis=0))
    return tf.cast(tf.matmul(left, right, transpose_b=transpose_b), a.dtype)


def product_of_few(rows, weight):
    """`rows` @ `weight`.T, the faster way on a CPU, which hangs on their number."""
    return tf.cond(
        tf.shape(rows)[0] <= VERY_FEW,
        lambda: tf.matmul(rows, weight, transpose_b=True),
        lambda: tf.einsum("vk,rk->rv", weight, rows),
    )


def rounded(x, compute_dtype: str):
    """`x` in `compute_dtype`; on a CPU back in its type: it sums bfloat16 badly."""
    narrow = tf.cast(x, compute_dtype)
    return narrow if tf.config.get_visible_devices("GPU") else tf.cast(narrow, x.dtype)


def copies(x, uses: int):
    """`x` for each of its `uses` (twice each at most); gradients are summed in pairs.

    Of three or more TensorFlow's AddN takes first the one whose memory is free, which
    hangs on its threads: other last bits. `enable_op_determinism` does not reach that.
    """
    for _ in range(uses):
        yield tf.identity(x)
        x = tf.identity(x)


class Layer(keras.Layer):
    """A layer that has its weights from the start: Keras need not try it out first."""

    def __init__(self, parts: Parts):
        super().__init__(dtype=parts.dtype)
        self.built = True


class Dropout(Layer):
    """Zeroes a share of its input; which part is a function of (seed, place)."""

    def __init__(self, parts: Parts):
        super().__init__(parts)
        self.dropped = dropped_levels(parts.config.dropout_rate)
        self.place = next(parts.places)

    def call(self, x, seed):
        if seed is None or not self.dropped:
            return x
        place = tf.constant(self.place, "uint32")
        kept = levels(tf.shape(x), seed, place) >= tf.constant(self.dropped, "uint16")
        return tf.where(kept, x * (LEVELS / (LEVELS - self.dropped)), 0)


@tf.function(autograph=False)  # many operations: one trace serves all the places
def levels(shape, seed, place):
    """Hashes of the coordinates of an array of `shape`, uint16: see randomness.py."""
    *outer, inner = tf.unstack(shape)
    value = folded(tf.cast(seed[0], "uint32"), place)
    first = seed[1] * outer[0]  # rows of the devices before this one
    for length in (*outer, (inner + 1) // 2):
        numbers = tf.cast(first + tf.range(length), "uint32")
        value = folded(value[..., None], numbers)
        first = 0
    halves = tf.reshape(tf.bitcast(value, "uint16"), (*outer, -1))
    return halves[..., :inner]


def folded(value, number):
    """One well-mixed uint32 that depends on both."""
    value = value + number * tf.constant(STEP, "uint32")
    for shift, factor in MIX:
        value = shifted(value, shift) * tf.constant(factor, "uint32")
    return shifted(value, LAST_SHIFT)


def shifted(value, shift: int):
    """`value` ^ (`value` >> `shift`), which TensorFlow has no operators for."""
    right = tf.bitwise.right_shift(value, tf.constant(shift, "uint32"))
    return tf.bitwise.bitwise_xor(value, right)


class Linear(Layer):
    """A product with a weight (outputs, inputs); no bias."""

    def __init__(self, parts: Parts, name: str, computes_in: str | None = None):
        super().__init__(parts)
        self.weight = parts.parameter(self, name)
        self.computes_in = computes_in or parts.compute_dtype

    def call(self, x):
        return product(x, self.weight, self.computes_in, transpose_b=True)


class Norm(Layer):
    """Root mean square norm: no mean is taken off, no bias added."""

    def __init__(self, parts: Parts, name: str):
        super().__init__(parts)
        self.weight = parts.parameter(self, name)
        self.epsilon = parts.config.layer_norm_epsilon

    def call(self, x):
        variance = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
        return self.weight * (x * tf.math.rsqrt(variance + self.epsilon))


def gelu_new(x):
    """Hugging Face's `gelu_new`, term by term."""
    whole, linear, cubic = copies(x, 3)
    inner = linear + 0.044715 * cubic**3
    return 0.5 * whole * (1 + tf.tanh((2 / np.pi) ** 0.5 * inner))


def put(cache, new, at):
    """`cache` (rows, heads, length, size) with `new` at place `at` of the length."""
    here = tf.range(cache.shape[2])[:, None] == at
    return tf.where(here, new, cache)


def checkpointed(block):
    """`block`, whose inner values are computed again for its gradient."""

    def run(hidden, bias, encoded, encoded_bias, seed):
        # tf.recompute_grad takes tensors alone: no None, and no seed (an integer).
        again = tf.recompute_grad(lambda *tensors: block(*tensors, seed=seed))
        if encoded is None:
            return again(hidden, bias)
        return again(hidden, bias, encoded, encoded_bias)

    return run
