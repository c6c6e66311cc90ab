"""What may be said next: transformers' rules, in the order of its logits processors."""

from __future__ import annotations

import jax.numpy as jnp

from reference_trainers.models.generation import ANY, GenerationSettings, in_a_table


def permitted(scores, tokens, length, settings: GenerationSettings):
    """`scores` (rows, vocabulary) of what may follow `length` columns of `tokens`.

    -inf is the score of a token that may not come next.
    """
    ids, none = jnp.arange(scores.shape[1]), jnp.float32(-jnp.inf)
    if settings.repetition_penalty != 1:
        scores = penalised(scores, tokens, length, settings)
    if settings.no_repeat_ngram_size:
        scores = jnp.where(repeats(scores, tokens, length, settings), none, scores)
    if settings.bad_words_ids:
        scores = jnp.where(bad_words(scores, tokens, length, settings), none, scores)
    if settings.min_length:
        early = one_of(ids, settings.eos_token_ids) & (length < settings.min_length)
        scores = jnp.where(early, none, scores)
    for place, token in settings.forced:
        only = jnp.where(ids == token, jnp.float32(0), none)
        scores = jnp.where(length == place, only, scores)
    if settings.suppress_tokens:
        scores = jnp.where(one_of(ids, settings.suppress_tokens), none, scores)
    return scores


def penalised(scores, tokens, length, settings: GenerationSettings):
    """`scores` with the repetition penalty on every token said, the start token too."""
    vocabulary = scores.shape[1]
    # What fills `tokens` beyond `length` has not been said.
    there = jnp.arange(tokens.shape[1]) < length
    said = marked(jnp.where(there, tokens, vocabulary), vocabulary)
    penalty, one = jnp.float32(settings.repetition_penalty), jnp.float32(1)
    # Divided by an array: a compiler would multiply by 1 / penalty, which is rounded.
    factor = jnp.where(said & (scores < 0), penalty, one)
    divisor = jnp.where(said & (scores >= 0), penalty, one)
    return scores * factor / divisor


def repeats(scores, tokens, length, settings: GenerationSettings):
    """Tokens that would say an n-gram of `tokens` (rows, max_length) again."""
    size = settings.no_repeat_ngram_size
    windows = max(0, tokens.shape[1] - size + 1)
    rows, vocabulary = scores.shape
    same = jnp.arange(windows)[None, :] < length - size + 1
    same = jnp.broadcast_to(same, (rows, windows))
    for place in range(size - 1):
        latest = tokens[:, jnp.maximum(length - size + 1 + place, 0)]
        same = same & (tokens[:, place : place + windows] == latest[:, None])
    return marked(jnp.where(same, tokens[:, size - 1 :], vocabulary), vocabulary)


def bad_words(scores, tokens, length, settings: GenerationSettings):
    """Tokens that would say one of `bad_words_ids` to its end."""
    vocabulary = scores.shape[1]
    words = in_a_table(settings.bad_words_ids)
    before, last = words[:, :-1], words[:, -1]
    places = length - before.shape[1] + jnp.arange(before.shape[1])
    # No word has a token before the first: -2 is none, and is not ANY either.
    latest = jnp.where(places >= 0, tokens[:, jnp.maximum(places, 0)], -2)
    same = (before == ANY) | (latest[:, None, :] == before)
    return marked(jnp.where(jnp.all(same, axis=-1), last, vocabulary), vocabulary)


def marked(columns, vocabulary: int):
    """True (rows, vocabulary) at `columns` (rows, n); a column past the end is none."""
    rows = columns.shape[0]
    marks = jnp.zeros((rows, vocabulary + 1), bool)
    return marks.at[jnp.arange(rows)[:, None], columns].set(True)[:, :vocabulary]


def one_of(token, ids: tuple[int, ...]):
    """Whether each token is one of `ids`."""
    return jnp.any(token[..., None] == jnp.array(ids, "int32"), axis=-1)
