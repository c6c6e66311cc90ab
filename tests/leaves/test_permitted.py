"""Scores after transformers' rules are transformers' own, bit for bit, compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from reference_trainers.models.generation import GenerationSettings
from tests.leaves.t5_oracle import FRAMEWORKS, VOCABULARY

ROWS, LONGEST = 6, 12
LENGTHS = (1, 2, 5, 11)
START, FILLER = 2, 40
BAD_WORDS = ((11,), (12,), (2, 2, 14), (21, 22, 23), (22, 24), (2, 21, 22, 25))
RULES: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.7},
    "repetition_penalty, a reward": {"repetition_penalty": 0.7},
    "bad_words_ids": {"bad_words_ids": BAD_WORDS},
    "bad_words_ids, words of one token": {"bad_words_ids": BAD_WORDS[:2]},
    "suppress_tokens": {"suppress_tokens": (3, 7, 100)},
    "all": {
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": BAD_WORDS,
        "min_length": 6,
        "forced_bos_token_id": 11,  # said though it is a bad word
        "forced_eos_token_id": 30,
        "suppress_tokens": (3, 7, 100),
    },
}


def settings_of(rule: str) -> GenerationSettings:
    return GenerationSettings(LONGEST, START, FILLER, (1, 30), **RULES[rule])


def scores_and_tokens() -> tuple[np.ndarray, np.ndarray]:
    """Of both signs; rows that have begun to say the bad words, and others."""
    draw = np.random.default_rng(0)
    scores = draw.normal(0, 7, (ROWS, VOCABULARY)).astype(np.float32)
    tokens = draw.integers(20, 26, (ROWS, LONGEST)).astype(np.int32)
    tokens[:, 0] = START
    tokens[:3, 1:3] = tokens[:3, 3:5] = 21, 22
    return scores, tokens


def expected(
    scores: np.ndarray, tokens: np.ndarray, settings: GenerationSettings
) -> np.ndarray:
    """By transformers' processors, in the order of its `_get_logits_processor`."""
    import transformers as hf

    torch = pytest.importorskip("torch")
    ends = list(settings.eos_token_ids)
    rules: list[Any] = []
    if settings.repetition_penalty != 1:
        rules += [hf.RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)]
    if settings.no_repeat_ngram_size:
        rules += [hf.NoRepeatNGramLogitsProcessor(settings.no_repeat_ngram_size)]
    if settings.bad_words_ids:
        words = [list(word) for word in settings.bad_words_ids]
        rules += [hf.NoBadWordsLogitsProcessor(words, ends)]
    if settings.min_length:
        rules += [hf.MinLengthLogitsProcessor(settings.min_length, ends)]
    if settings.forced_bos_token_id is not None:
        rules += [hf.ForcedBOSTokenLogitsProcessor(settings.forced_bos_token_id)]
    if settings.forced_eos_token_id is not None:
        end = settings.forced_eos_token_id
        rules += [hf.ForcedEOSTokenLogitsProcessor(settings.max_length, end)]
    if settings.suppress_tokens:
        rules += [hf.SuppressTokensLogitsProcessor(settings.suppress_tokens)]
    found = torch.tensor(scores)
    for rule in rules:
        found = rule(torch.tensor(tokens).long(), found)
    return found.numpy()


def compiled(framework: str, settings: GenerationSettings) -> Any:
    """`permitted` as a search has it: in a program, for a length known when it runs."""
    if framework == "flax":
        jax = pytest.importorskip("jax")
        pytest.importorskip("flax")
        from reference_trainers.flax.permitted import permitted

        return jax.jit(partial(permitted, settings=settings))
    tf = pytest.importorskip("tensorflow")
    from reference_trainers.tensorflow.permitted import permitted

    shapes = tf.TensorSpec((None, VOCABULARY)), tf.TensorSpec((None, LONGEST), "int32")
    signature = [*shapes, tf.TensorSpec((), "int32")]
    return tf.function(partial(permitted, settings=settings), signature)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_scores_are_transformers_bit_for_bit(framework: str, rule: str) -> None:
    settings = settings_of(rule)
    program = compiled(framework, settings)
    scores, tokens = scores_and_tokens()
    changed = 0
    for length in LENGTHS:
        said = tokens.copy()
        said[:, length:] = FILLER  # as in a search: it has not been said
        found = np.asarray(program(scores, said, np.int32(length)))
        wanted = expected(scores, said[:, :length], settings)
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted), f"after {length} tokens"
        changed += int((wanted != scores).any(axis=1).sum())
    assert changed == ROWS * len(LENGTHS), "the rule changes nothing in some row"
