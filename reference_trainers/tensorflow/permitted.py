"""What may be said next: transformers' rules, in the order of its logits processors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from reference_trainers.models.generation import ANY, GenerationSettings, in_a_table


def permitted(scores, tokens, length, settings: GenerationSettings):
    """`scores` (rows, vocabulary) of what may follow `length` columns of `tokens`.

    -inf is the score of a token that may not come next.
    """
    ids, none = tf.range(scores.shape[1]), tf.constant(-np.inf, "float32")
    if settings.repetition_penalty != 1:
        scores = penalised(scores, tokens, length, settings)
    if settings.no_repeat_ngram_size:
        scores = tf.where(repeats(scores, tokens, length, settings), none, scores)
    if settings.bad_words_ids:
        scores = tf.where(bad_words(scores, tokens, length, settings), none, scores)
    if settings.min_length:
        early = one_of(ids, settings.eos_token_ids) & (length < settings.min_length)
        scores = tf.where(early, none, scores)
    for place, token in settings.forced:
        only = tf.where(ids == token, 0.0, none)
        scores = tf.where(length == place, only, scores)
    if settings.suppress_tokens:
        scores = tf.where(one_of(ids, settings.suppress_tokens), none, scores)
    return scores


def penalised(scores, tokens, length, settings: GenerationSettings):
    """`scores` with the repetition penalty on every token said, the start token too."""
    vocabulary = scores.shape[1]
    # What fills `tokens` beyond `length` has not been said.
    there = tf.range(tokens.shape[1]) < length
    said = marked(tf.where(there, tokens, vocabulary), vocabulary)
    penalty, one = tf.constant(settings.repetition_penalty, "float32"), 1.0
    # Divided by an array: a compiler would multiply by 1 / penalty, which is rounded.
    factor = tf.where(said & (scores < 0), penalty, one)
    divisor = tf.where(said & (scores >= 0), penalty, one)
    return scores * factor / divisor


def repeats(scores, tokens, length, settings: GenerationSettings):
    """Tokens that would say an n-gram of `tokens` (rows, max_length) again."""
    size = settings.no_repeat_ngram_size
    windows = max(0, tokens.shape[1] - size + 1)
    rows, vocabulary = tf.shape(scores)[0], scores.shape[1]
    same = tf.range(windows)[None, :] < length - size + 1
    same = tf.broadcast_to(same, (rows, windows))
    for place in range(size - 1):
        latest = tokens[:, tf.maximum(length - size + 1 + place, 0)]
        same = same & (tokens[:, place : place + windows] == latest[:, None])
    return marked(tf.where(same, tokens[:, size - 1 :], vocabulary), vocabulary)


def bad_words(scores, tokens, length, settings: GenerationSettings):
    """Tokens that would say one of `bad_words_ids` to its end."""
    vocabulary = scores.shape[1]
    words = in_a_table(settings.bad_words_ids)
    before, last = words[:, :-1], words[:, -1]
    places = length - before.shape[1] + tf.range(before.shape[1])
    # No word has a token before the first: -2 is none, and is not ANY either.
    latest = tf.gather(tokens, tf.maximum(places, 0), axis=1)
    latest = tf.where(places >= 0, latest, -2)
    same = (before == ANY) | (latest[:, None, :] == before)
    return marked(tf.where(tf.reduce_all(same, axis=-1), last, vocabulary), vocabulary)


def marked(columns, vocabulary: int):
    """True (rows, vocabulary) at `columns` (rows, n); a column past the end is none."""
    rows = tf.shape(columns)[0]
    row = tf.broadcast_to(tf.range(rows)[:, None], tf.shape(columns))
    places = tf.stack((row, columns), axis=-1)
    marks = tf.scatter_nd(places, tf.ones_like(columns), (rows, vocabulary + 1))
    return marks[:, :vocabulary] > 0


def one_of(token, ids: tuple[int, ...]):
    """Whether each token is one of `ids`."""
    return tf.reduce_any(token[..., None] == tf.constant(ids, "int32"), axis=-1)
