"""Greedy and beam search in one compiled loop, token for token as transformers does.

That it is: GENERATION_INPUTS=64 pytest tests/leaves/test_generate.py

A model here is anything with `encode`, `memory`, `empty_cache` and `step` (see t5.py).
Scores are float32 in transformers, whatever the model computes in: so they are here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from reference_trainers.flax.permitted import one_of, permitted
from reference_trainers.models.generation import GenerationSettings

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
    rows, pad = input_ids.shape[0], settings.pad_token_id

    def goes_on(at: Greedy):
        return (at.length < settings.max_length) & ~jnp.all(at.finished)

    def step(at: Greedy):
        last = at.tokens[:, at.length - 1, None]
        logits, cache = model.step(last, at.length - 1, at.cache, memory, mask)
        scores = permitted(logits.astype("float32"), at.tokens, at.length, settings)
        token = jnp.argmax(scores, axis=-1).astype("int32")
        token = jnp.where(at.finished, pad, token)
        tokens = written(at.tokens, at.length, token)
        finished = at.finished | ends(token, settings)
        return Greedy(at.length + 1, tokens, finished, cache)

    first = Greedy(
        jnp.int32(1),
        started(rows, pad, settings),
        empty,
        model.empty_cache(rows, settings.max_length),
    )
    last = jax.lax.while_loop(goes_on, step, first)
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
    rows, beams = input_ids.shape[0], settings.num_beams

    def goes_on(at: Beams):
        full = jnp.all(at.is_done) & (settings.early_stopping is True)
        return jnp.any(at.improvable) & ~full & ~at.stuck

    def step(at: Beams):
        tokens = at.running.reshape(rows * beams, -1)
        last = at.running[:, :, at.length - 1]
        logits, cache = model.step(last, at.length - 1, at.cache, memory, mask)
        scores = jax.nn.log_softmax(logits.astype("float32"))
        scores = permitted(scores, tokens, at.length, settings)
        scores = scores.reshape(rows, beams, -1) + at.running_scores[:, :, None]
        return after(at, scores, cache, settings)

    filler = settings.pad_token_id or (*settings.eos_token_ids, -1)[0]
    tokens = started(rows * beams, filler, settings).reshape(rows, beams, -1)
    empty = tokenless(attention_mask)
    first = Beams(
        length=jnp.int32(1),
        running=tokens,
        # All beams start alike: only the first may have successors.
        running_scores=jnp.tile(
            jnp.array([0.0] + [WORST] * (beams - 1), "float32"), (rows, 1)
        ),
        done=tokens,
        done_scores=jnp.full((rows, beams), WORST, "float32"),
        done_lengths=jnp.ones((rows, beams), "int32"),
        is_done=jnp.tile(empty[:, None], (1, beams)),
        improvable=~empty[:, None],
        stuck=jnp.array(False),
        cache=model.empty_cache(rows * beams, settings.max_length),
    )
    last = jax.lax.while_loop(goes_on, step, first)
    lengths = jnp.where(empty, 1, last.done_lengths[:, 0])
    return last.done[:, 0], jnp.max(lengths)


def after(at: Beams, scores, cache, settings: GenerationSettings) -> Beams:
    """The beams once each has its next token; `scores` (batch, beams, vocabulary)."""
    rows, beams, vocabulary = scores.shape
    # Enough candidates that `num_beams` run on though all the others end.
    kept = beams * max(2, 1 + len(settings.eos_token_ids))
    best, index = jax.lax.top_k(scores.reshape(rows, -1), kept)
    origin, token = index // vocabulary, (index % vocabulary).astype("int32")
    candidates = written(take(at.running, origin), at.length, token)
    length = at.length + 1
    ended = ends(token, settings) | (length >= settings.max_length)

    scores = best + jnp.where(ended, WORST, 0).astype("float32")
    running_scores, chosen = jax.lax.top_k(scores, beams)
    parents = take(origin, chosen) + beams * jnp.arange(rows)[:, None]
    cache = jax.tree.map(
        lambda x: jnp.take(x, parents.reshape(-1), axis=0, mode="clip"), cache
    )

    after = finished(at, candidates, best, ended, settings)
    done, done_scores, done_lengths, is_done = after
    reached = settings.max_length if settings.early_stopping == "never" else length
    reached = reached if settings.length_penalty > 0 else length
    hoped = running_scores[:, :1] / penalty(reached, settings)
    lowest = jnp.min(done_scores, axis=1, keepdims=True)
    beaten = hoped > jnp.where(is_done, lowest, WORST)
    improvable = at.improvable & jnp.any(beaten, axis=1, keepdims=True)
    return Beams(
        length,
        take(candidates, chosen),
        running_scores,
        done,
        done_scores,
        done_lengths,
        is_done,
        improvable,
        jnp.all(ended),
        cache,
    )


def finished(at: Beams, candidates, best, ended, settings: GenerationSettings):
    """Finished answers, their scores, lengths and marks, with those that just ended."""
    beams, length = settings.num_beams, at.length + 1
    # Candidates below the first `num_beams` are spare: they run on, but do not end.
    ended = ended & (jnp.arange(best.shape[1]) < beams)
    full = jnp.all(at.is_done, axis=1, keepdims=True)
    closed = (full & (settings.early_stopping is True)) | ~at.improvable
    scores = best / penalty(length, settings)
    scores = scores + jnp.where(closed, WORST, 0).astype("float32")
    scores = scores + jnp.where(ended, 0, WORST).astype("float32")
    lengths = jnp.broadcast_to(length, ended.shape)
    merged, index = jax.lax.top_k(jnp.concatenate((at.done_scores, scores), 1), beams)
    done = take(jnp.concatenate((at.done, candidates), 1), index)
    lengths = take(jnp.concatenate((at.done_lengths, lengths), 1), index)
    return done, merged, lengths, take(jnp.concatenate((at.is_done, ended), 1), index)


def penalty(length, settings: GenerationSettings):
    """(`length` without the start token) ** length_penalty; float32."""
    lengths = np.arange(settings.max_length + 1, dtype=np.float64) - 1
    lengths[:2] = 1  # no answer is that short
    return jnp.array((lengths**settings.length_penalty).astype(np.float32))[length]


def take(x, index):
    """Entries `index` (batch, n) of the second axis of `x`."""
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), 1)


def tokenless(attention_mask):
    """Rows (batch,) without a token: they have no answer, and are done at once."""
    return ~jnp.any(attention_mask > 0, axis=1)


def started(rows, filler: int, settings: GenerationSettings):
    """Token ids (rows, max_length): the start token, then `filler`."""
    line = [settings.decoder_start_token_id] + [filler] * (settings.max_length - 1)
    return jnp.tile(jnp.array(line, "int32")[None], (rows, 1))


def written(tokens, at, token):
    """`tokens` (..., max_length) with `token` (...) at place `at`."""
    return jnp.where(jnp.arange(tokens.shape[-1]) == at, token[..., None], tokens)


def ends(token, settings: GenerationSettings):
    """Whether each token ends its answer."""
    return one_of(token, settings.eos_token_ids)
