"""The weights that a T5 trained from scratch starts with: the same numbers everywhere.

numpy alone: every framework loads these, so no framework's generator is involved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from reference_trainers.errors import InputError

Array = np.ndarray


class T5Shape(Protocol):
    """What is read of a configuration (``transformers.T5Config`` has it all)."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_heads: int
    num_layers: int
    num_decoder_layers: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    initializer_factor: float
    is_gated_act: bool


Tensor = tuple[str, tuple[int, ...], float | None]
"""Hugging Face name, shape, and standard deviation; None for a norm, which is 1."""


def t5_initial_weights(
    config: T5Shape, seed: int, *, tied: bool = True
) -> dict[str, Array]:
    """float32 weights under Hugging Face names, at transformers' scales for T5.

    Tied embeddings appear once, as ``shared.weight``; ``tied=False`` adds
    ``lm_head.weight``. A tensor depends on the seed and its own name and shape
    alone, so a deeper model has the same first layers. Raises `InputError` for a size
    that no model has.
    """
    _require_sizes(config)
    factor = config.initializer_factor
    return {
        name: np.full(shape, factor, np.float32)
        if std is None
        else seeded_normal(seed, name, shape, factor * std)
        for name, shape, std in t5_tensors(config, tied=tied)
    }


# Half of the buckets are for distances on one side, and half of those for single ones
LEAST_BUCKETS = 4
SIZES = ("d_model", "d_kv", "d_ff", "num_heads", "num_layers", "num_decoder_layers")


def _require_sizes(config: T5Shape) -> None:
    buckets = config.relative_attention_num_buckets
    least = {
        **dict.fromkeys(SIZES, 1),
        "relative_attention_num_buckets": LEAST_BUCKETS,
        "relative_attention_max_distance": max(buckets // 2, 0) + 1,
    }
    for name, lowest in least.items():
        value = getattr(config, name)
        if type(value) is not int or value < lowest:
            raise InputError(
                f"config.json: {name} is {value}: give a whole number from {lowest} on."
            )


def seeded_normal(seed: int, name: str, shape: tuple[int, ...], std: float) -> Array:
    """Normal float32 numbers that are a function of (seed, name, shape, std)."""
    # Python's hash() changes from process to process; SHA-256 does not.
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest, "<u4").tolist()
    generator = np.random.Generator(np.random.PCG64([seed, *words]))
    return generator.standard_normal(shape, np.float32) * np.float32(std)


def t5_tensors(config: T5Shape, *, tied: bool = True) -> Iterator[Tensor]:
    """Every tensor of a T5: its name, shape and standard deviation (at factor 1)."""
    embedding = (config.vocab_size, config.d_model)
    yield "shared.weight", embedding, 1.0
    for block in range(config.num_layers):
        at = f"encoder.block.{block}.layer"
        yield from _attention(config, f"{at}.0", "SelfAttention", block == 0)
        yield from _feed_forward(config, f"{at}.1")
    yield "encoder.final_layer_norm.weight", (config.d_model,), None
    for block in range(config.num_decoder_layers):
        at = f"decoder.block.{block}.layer"
        yield from _attention(config, f"{at}.0", "SelfAttention", block == 0)
        yield from _attention(config, f"{at}.1", "EncDecAttention", False)
        yield from _feed_forward(config, f"{at}.2")
    yield "decoder.final_layer_norm.weight", (config.d_model,), None
    if not tied:
        yield "lm_head.weight", embedding, 1.0


def _attention(
    c: T5Shape, layer: str, attention: str, positions: bool
) -> Iterator[Tensor]:
    inner = c.num_heads * c.d_kv
    at = f"{layer}.{attention}"
    # T5 does not scale q @ k by 1 / sqrt(d_kv): q's smaller deviation stands for it.
    yield f"{at}.q.weight", (inner, c.d_model), (c.d_model * c.d_kv) ** -0.5
    yield f"{at}.k.weight", (inner, c.d_model), c.d_model**-0.5
    yield f"{at}.v.weight", (inner, c.d_model), c.d_model**-0.5
    yield f"{at}.o.weight", (c.d_model, inner), inner**-0.5
    if positions:  # the first block's, which all blocks of a stack use
        shape = (c.relative_attention_num_buckets, c.num_heads)
        yield f"{at}.relative_attention_bias.weight", shape, c.d_model**-0.5
    yield f"{layer}.layer_norm.weight", (c.d_model,), None


def _feed_forward(c: T5Shape, layer: str) -> Iterator[Tensor]:
    at = f"{layer}.DenseReluDense"
    for name in ("wi_0", "wi_1") if c.is_gated_act else ("wi",):
        yield f"{at}.{name}.weight", (c.d_ff, c.d_model), c.d_model**-0.5
    yield f"{at}.wo.weight", (c.d_model, c.d_ff), c.d_ff**-0.5
    yield f"{layer}.layer_norm.weight", (c.d_model,), None


EMBEDDING = "shared.weight"
HEAD = "lm_head.weight"
OTHER_NAMES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# Old models carry it, and it is used nowhere: transformers leaves it out, too
UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
ACTIVATIONS = ("relu", "gelu_new")


def t5_weights(config: Any, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every weight of a T5 once, under its Hugging Face name; names and shapes checked.

    Like `from_pretrained`: an embedding goes by any of its names, and a head that is
    the embedding, or is not there, is tied to it.
    """
    if config.dense_act_fn not in ACTIVATIONS:
        raise InputError(
            f"feed_forward_proj {config.feed_forward_proj}: not supported. Use relu "
            "(T5 1.0) or gated-gelu (T5 1.1, Flan, mT5)."
        )
    found = dict(weights)
    for name in (*OTHER_NAMES, HEAD):
        if name in weights:
            found.setdefault(EMBEDDING, weights[name])
    head = weights.get(HEAD)
    tied = head is None or np.array_equal(head, found[EMBEDDING])
    wanted = {name: shape for name, shape, _ in t5_tensors(config, tied=tied)}
    for name, shape in wanted.items():
        if name not in found:
            raise InputError(f"{name}: no such weight in the model's files.")
        if found[name].shape != shape:
            raise InputError(
                f"{name}: its shape is {found[name].shape}, but config.json asks for "
                f"{shape}."
            )
    for name in sorted(found.keys() - wanted - {*OTHER_NAMES, HEAD, UNUSED}):
        raise InputError(
            f"{name}: config.json describes a model without this weight. Give the "
            "config.json that belongs to it."
        )
    return {name: found[name] for name in wanted}


def distance_buckets(config: Any, bidirectional: bool) -> np.ndarray:
    """Bucket of each distance (key - query) from -reach to reach; int32 (2 reach + 1,).

    All distances beyond `reach` share the bucket of its end.
    """
    reach = 2 * config.relative_attention_max_distance
    distance = np.arange(-reach, reach + 1)
    buckets = config.relative_attention_num_buckets
    base = np.zeros_like(distance)
    if bidirectional:
        buckets //= 2
        base = (distance > 0) * buckets
        distance = np.abs(distance)
    else:
        distance = -np.minimum(distance, 0)
    exact = buckets // 2
    # float32, as transformers computes it: the last digit decides at some borders.
    log = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    span = np.float32(math.log(config.relative_attention_max_distance / exact))
    far = exact + (log / span * np.float32(buckets - exact)).astype(np.int64)
    far = np.minimum(far, buckets - 1)
    return (base + np.where(distance < exact, distance, far)).astype(np.int32)
