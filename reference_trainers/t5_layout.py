"""What is the same about T5 in every framework; numpy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from reference_trainers.errors import InputError
from reference_trainers.initial_weights import t5_tensors

EMBEDDING = "shared.weight"
HEAD = "lm_head.weight"
OTHER_NAMES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
ACTIVATIONS = ("relu", "gelu_new")


def t5_weights(config: Any, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every weight of a T5 once, under its Hugging Face name; shapes checked.

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
