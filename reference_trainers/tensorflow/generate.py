"""Greedy and beam search in one compiled loop, token for token as transformers does.

That it is: GENERATION_INPUTS=64 pytest tests/leaves/test_generate.py

A model here is anything with `encode`, `memory`, `empty_cache` and `step` (see t5.py).
Scores are float32 in transformers, whatever the model computes in: so they are here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from reference_trainers.models.generation import GenerationSettings
from reference_trainers.tensorflow.permitted import one_of, permitted

WORST = -1.0e9  # transformers' mark of a beam that is not to be chosen


def generate(model, input_ids, attention_mask, settings: GenerationSettings):
    """Token ids, int32 (batch, max_length), and how many columns hold an answer."""
    search = greedy_search if settings.num_beams == 1 else beam_search
    return search(model, input_ids, attention_mask, settings)


class Greedy(NamedTuple):
    """What a step of greedy search hands on."""

    length: Any
    tokens: Any  # (batch, max_length)
    finished: Any  # (batch,)
    cache: Any


def greedy_search(model, input_ids, attention_mask, settings: GenerationSettings):
    """The likeliest token, one after another; pads after the end."""
    encoded, mask = model.encode(input_ids, attention_mask)
    memory = model.memory(encoded)
    empty = tokenless(attention_mask)
    rows, pad = tf.shape(input_ids)[0], settings.pad_token_id

    def goes_on(at: Greedy):
        return (at.length < settings.max_length) & ~tf.reduce_all(at.finished)

    def step(at: Greedy):
        last = at.tokens[:, at.length - 1, None]
        logits, cache = model.step(last, at.length - 1, at.cache, memory, mask)
        scores = permitted(tf.cast(logits, "float32"), at.tokens, at.length, settings)
        token = tf.argmax(scores, axis=-1, output_type="int32")
        token = tf.where(at.finished, pad, token)
        tokens = written(at.tokens, at.length, token)
        finished = at.finished | ends(token, settings)
        return Greedy(at.length + 1, tokens, finished, cache)

    first = Greedy(
        tf.constant(1),
        started(rows, pad, settings),
        empty,
        model.empty_cache(rows, settings.max_length),
    )
    (last,) = tf.while_loop(goes_on, lambda at: (step(at),), (first,))
    return last.tokens, last.length


class Beams(NamedTuple):
    """What a step of beam search hands on; `running` and `done` are best first."""

    length: Any
    running: Any  # (batch, beams, max_length)
    running_scores: Any  # (batch, beams): summed log probabilities
    done: Any  # (batch, beams, max_length)
    done_scores: Any  # (batch, beams): with the length penalty
    done_lengths: Any  # (batch, beams)
    is_done: Any  # (batch, beams)
    improvable: Any  # (batch, 1)
    stuck: Any  # (): no candidate can be extended
    cache: Any


def beam_search(model, input_ids, attention_mask, settings: GenerationSettings):
    """The best of `num_beams` answers, by transformers' rules for stopping."""
    encoded, mask = model.encode(input_ids, attention_mask)
    memory = model.memory(encoded)
    rows, beams = tf.shape(input_ids)[0], settings.num_beams

    def goes_on(at: Beams):
        full = tf.reduce_all(at.is_done) & (settings.early_stopping is True)
        return tf.reduce_any(at.improvable) & ~full & ~at.stuck

    def step(at: Beams):
        tokens = tf.reshape(at.running, (rows * beams, settings.max_length))
        last = at.running[:, :, at.length - 1]
        logits, cache = model.step(last, at.length - 1, at.cache, memory, mask)
        scores = tf.nn.log_softmax(tf.cast(logits, "float32"))
        scores = permitted(scores, tokens, at.length, settings)
        scores = tf.reshape(scores, (rows, beams, scores.shape[-1]))
        scores = scores + at.running_scores[:, :, None]
        return after(at, scores, cache, settings)

    filler = settings.pad_token_id or (*settings.eos_token_ids, -1)[0]
    tokens = started(rows * beams, filler, settings)
    tokens = tf.reshape(tokens, (rows, beams, settings.max_length))
    empty = tokenless(attention_mask)
    first = Beams(
        length=tf.constant(1),
        running=tokens,
        # All beams start alike: only the first may have successors.
        running_scores=tf.tile(
            tf.constant([[0.0] + [WORST] * (beams - 1)], "float32"), (rows, 1)
        ),
        done=tokens,
        done_scores=tf.fill((rows, beams), WORST),
        done_lengths=tf.ones((rows, beams), "int32"),
        is_done=tf.tile(empty[:, None], (1, beams)),
        improvable=~empty[:, None],
        stuck=tf.constant(False),
        cache=model.empty_cache(rows * beams, settings.max_length),
    )
    (last,) = tf.while_loop(goes_on, lambda at: (step(at),), (first,))
    lengths = tf.where(empty, 1, last.done_lengths[:, 0])
    return last.done[:, 0], tf.reduce_max(lengths)


def after(at: Beams, scores, cache, settings: GenerationSettings) -> Beams:
    """The beams once each has its next token; `scores` (batch, beams, vocabulary)."""
    rows, (beams, vocabulary) = tf.shape(scores)[0], scores.shape[1:]
    # Enough candidates that `num_beams` run on though all the others end.
    kept = beams * max(2, 1 + len(settings.eos_token_ids))
    best, index = tf.math.top_k(tf.reshape(scores, (rows, beams * vocabulary)), kept)
    origin, token = index // vocabulary, index % vocabulary
    candidates = written(take(at.running, origin), at.length, token)
    length = at.length + 1
    ended = ends(token, settings) | (length >= settings.max_length)

    scores = best + tf.where(ended, WORST, 0.0)
    running_scores, chosen = tf.math.top_k(scores, beams)
    parents = take(origin, chosen) + beams * tf.range(rows)[:, None]
    parents = tf.reshape(parents, (-1,))
    cache = tf.nest.map_structure(lambda x: tf.gather(x, parents), cache)

    after = finished(at, candidates, best, ended, settings)
    done, done_scores, done_lengths, is_done = after
    reached = settings.max_length if settings.early_stopping == "never" else length
    reached = reached if settings.length_penalty > 0 else length
    hoped = running_scores[:, :1] / penalty(reached, settings)
    lowest = tf.reduce_min(done_scores, axis=1, keepdims=True)
    beaten = hoped > tf.where(is_done, lowest, WORST)
    improvable = at.improvable & tf.reduce_any(beaten, axis=1, keepdims=True)
    return Beams(
        length,
        take(candidates, chosen),
        running_scores,
        done,
        done_scores,
        done_lengths,
        is_done,
        improvable,
        tf.reduce_all(ended),
        cache,
    )


def finished(at: Beams, candidates, best, ended, settings: GenerationSettings):
    """Finished answers, their scores, lengths and marks, with those that just ended."""
    beams, length = settings.num_beams, at.length + 1
    # Candidates below the first `num_beams` are spare: they run on, but do not end.
    ended = ended & (tf.range(best.shape[1]) < beams)
    full = tf.reduce_all(at.is_done, axis=1, keepdims=True)
    closed = (full & (settings.early_stopping is True)) | ~at.improvable
    scores = best / penalty(length, settings)
    scores = scores + tf.where(closed, WORST, 0.0)
    scores = scores + tf.where(ended, 0.0, WORST)
    lengths = tf.fill(tf.shape(ended), length)
    merged, index = tf.math.top_k(tf.concat((at.done_scores, scores), 1), beams)
    done = take(tf.concat((at.done, candidates), 1), index)
    lengths = take(tf.concat((at.done_lengths, lengths), 1), index)
    return done, merged, lengths, take(tf.concat((at.is_done, ended), 1), index)


def penalty(length, settings: GenerationSettings):
    """(`length` without the start token) ** length_penalty; float32."""
    lengths = np.arange(settings.max_length + 1, dtype=np.float64) - 1
    lengths[:2] = 1  # no answer is that short
    return tf.constant((lengths**settings.length_penalty).astype(np.float32))[length]


def take(x, index):
    """Entries `index` (batch, n) of the second axis of `x`."""
    return tf.gather(x, index, batch_dims=1)


def tokenless(attention_mask):
    """Rows (batch,) without a token: they have no answer, and are done at once."""
    return ~tf.reduce_any(attention_mask > 0, axis=1)


def started(rows, filler: int, settings: GenerationSettings):
    """Token ids (rows, max_length): the start token, then `filler`."""
    line = [settings.decoder_start_token_id] + [filler] * (settings.max_length - 1)
    return tf.tile(tf.constant(line, "int32")[None], (rows, 1))


def written(tokens, at, token):
    """`tokens` (..., max_length) with `token` (...) at place `at`."""
    return tf.where(tf.range(tokens.shape[-1]) == at, token[..., None], tokens)


def ends(token, settings: GenerationSettings):
    """Whether each token ends its answer."""
    return one_of(token, settings.eos_token_ids)
