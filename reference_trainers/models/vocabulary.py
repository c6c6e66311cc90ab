"""Rows for the tokens that a tokenizer has and a model has not: the same everywhere.

numpy alone: every framework loads these, so no framework's generator is involved.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reference_trainers.models.t5 import seeded_normal

EMBEDDINGS = ("shared.weight", "embed_tokens.weight", "lm_head.weight")
"""How the names of what has a row a token end."""
BIASES = ("final_logits_bias",)
"""And of what has a column a token (BART)."""
SPREAD = 1e-9**0.5  # transformers scales the covariance of the old rows by 1e-9


def with_more_tokens(
    weights: Mapping[str, np.ndarray], had: int, tokens: int, seed: int
) -> dict[str, np.ndarray]:
    """`weights` of a model of `had` tokens, with rows for `tokens`; the old unchanged.

    A bias of a new token is 0, as in transformers.
    """
    grown = dict(weights)
    for name, values in weights.items():
        if name.endswith(EMBEDDINGS) and values.shape[0] == had:
            grown[name] = np.concatenate([values, new_rows(values, tokens - had, seed)])
        elif name.endswith(BIASES) and values.shape[-1] == had:
            zeros = np.zeros((*values.shape[:-1], tokens - had), values.dtype)
            grown[name] = np.concatenate([values, zeros], axis=-1)
    return grown


def new_rows(old: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The mean of the old rows, and a little noise: a function of (old, seed).

    transformers' `mean_resizing`: a new token is at first as likely as an old one is
    on average, so that no prediction jumps. Its noise has the covariance of the old
    rows; ours has the deviation of each column, which needs no root of a matrix.
    Equal tensors get equal rows, so that tied embeddings stay tied.
    """
    values = old.astype(np.float64)
    noise = seeded_normal(seed, "new tokens", (number, old.shape[1]), SPREAD)
    return (values.mean(0) + values.std(0) * noise).astype(old.dtype)
