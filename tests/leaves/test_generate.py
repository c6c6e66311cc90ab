"""Greedy and beam search give transformers' own tokens, padding included."""

import os
from typing import Any

import numpy as np
import pytest

from fixtures.float64_t5 import float64_t5
from reference_trainers.models.generation import (
    GenerationSettings,
    generation_settings,
)
from reference_trainers.spec import TrainingSpec
from tests.leaves.t5_oracle import FRAMEWORKS, VOCABULARY, ours, talkative, torch_t5

# 64 is what a release must show; 16 take a quarter of the time.
INPUTS = int(os.environ.get("GENERATION_INPUTS", "16"))
ROWS = 8
USUAL: dict[str, Any] = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True}
CASES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, rules": {"no_repeat_ngram_size": 2, "min_length": 6},
    "greedy, forced": {"forced_bos_token_id": 7, "forced_eos_token_id": 1},
    "beams": USUAL | {"min_length": 5, "no_repeat_ngram_size": 3},
    "beams, several ends": USUAL | {"eos_token_ids": (1, 17, 30)},
    "beams, stop at the heuristic": {"num_beams": 3},
    "beams, never early": {
        "num_beams": 2,
        "early_stopping": "never",
        "length_penalty": 0.6,
    },
    "beams, short is good": {
        "num_beams": 3,
        "early_stopping": "never",
        "length_penalty": -0.5,
    },
    "beams, forced": {
        "num_beams": 2,
        "no_repeat_ngram_size": 1,
        "forced_bos_token_id": 7,
        "forced_eos_token_id": 1,
    },
    "greedy, the model's own": {
        "repetition_penalty": 1.2,
        "bad_words_ids": ((73,), (0, 80), (85, 42), (42, 42, 42)),
        "suppress_tokens": (24, 33),
    },
    "beams, the model's own": USUAL
    | {
        "repetition_penalty": 1.2,
        "bad_words_ids": ((73,), (0, 80), (85, 42), (42, 42, 42)),
        "suppress_tokens": (24, 45),
    },
}
QUICK = ("greedy", "beams")
OWN = ("greedy, the model's own", "beams, the model's own")


def settings_of(**changed) -> GenerationSettings:
    fixed: dict[str, Any] = {
        "max_length": 24,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
    }
    return GenerationSettings(**fixed | {"eos_token_ids": (1,)} | changed)


def inputs(number: int):
    """Rows of differing lengths, padded at the end."""
    draw = np.random.default_rng(number)
    mask = np.arange(19) < draw.integers(1, 20, ROWS)[:, None]
    ids = draw.integers(2, VOCABULARY, (ROWS, 19)) * mask
    return ids.astype(np.int32), mask.astype(np.int32)


def torch_tokens(model, ids, mask, settings):
    import torch
    from transformers import GenerationConfig

    words = vars(settings) | {
        "eos_token_id": list(settings.eos_token_ids),
        "bad_words_ids": [list(word) for word in settings.bad_words_ids] or None,
    }
    del words["eos_token_ids"]
    if settings.num_beams == 1:
        del words["length_penalty"], words["early_stopping"]
    with float64_t5():
        return model.generate(
            torch.tensor(ids).long(),
            attention_mask=torch.tensor(mask),
            generation_config=GenerationConfig(do_sample=False, **words),
        ).numpy()


def differing(framework, gated, dtype, settings) -> tuple[int, int]:
    """Inputs whose tokens differ, and how many different answers there were."""
    model = talkative(torch_t5(gated, dtype), gated)
    network = ours(framework, model, dtype)
    wrong, answers = 0, set()
    for number in range(INPUTS // ROWS):
        ids, mask = inputs(number)
        wanted = torch_tokens(model, ids, mask, settings)
        found = network.generate(ids, mask, settings)
        answers |= {tuple(row) for row in wanted}
        if found.shape == wanted.shape:
            wrong += int((found != wanted).any(axis=1).sum())
        else:
            wrong += ROWS
    return wrong, len(answers)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("case", "gated"),
    # A search does not see which T5 it searches: two cases of T5 1.1 are enough.
    [(case, False) for case in CASES] + [(case, True) for case in QUICK],
)
def test_float64_tokens_are_transformers(framework, case, gated):
    settings = settings_of(**CASES[case])
    wrong, answers = differing(framework, gated, "float64", settings)
    assert wrong == 0
    assert answers > INPUTS / 2, "the inputs are not varied"


@pytest.mark.parametrize("case", OWN)
def test_each_setting_of_the_models_own_changes_answers(case):
    """Else the cases would show nothing of it."""
    asked = CASES[case]
    model = talkative(torch_t5(False), False)
    ids, mask = inputs(0)
    full = torch_tokens(model, ids, mask, settings_of(**asked))
    for name in ("repetition_penalty", "bad_words_ids", "suppress_tokens"):
        fewer = {key: value for key, value in asked.items() if key != name}
        without = torch_tokens(model, ids, mask, settings_of(**fewer))
        assert not np.array_equal(without, full), name


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", QUICK)
def test_float32_tokens_are_transformers(framework, case):
    settings = settings_of(**CASES[case])
    wrong, _ = differing(framework, False, "float32", settings)
    assert wrong <= INPUTS / 64


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", QUICK)
def test_rows_without_a_token_break_nothing(framework, case):
    settings = settings_of(**CASES[case])
    model = talkative(torch_t5(False), False)
    network = ours(framework, model, "float64")
    ids, mask = inputs(0)
    whole = network.generate(ids, mask, settings)
    ids[3:] = mask[3:] = 0
    some = network.generate(ids, mask, settings)
    assert (some[:3] == whole[:3, : some.shape[1]]).all()
    assert network.generate(0 * ids, 0 * mask, settings).shape == (ROWS, 1)


@pytest.mark.parametrize("case", QUICK)
def test_a_decoder_may_be_deeper_than_the_encoder(case):
    """transformers makes a cache as deep as a T5's encoder, and dies in it."""
    settings = settings_of(**CASES[case])
    model = talkative(torch_t5(False, num_layers=1, num_decoder_layers=2), False)
    import torch

    from reference_trainers.pytorch.generate import generate

    ids, mask = inputs(0)
    with float64_t5(), torch.no_grad():
        found = generate(
            model, torch.tensor(ids).long(), torch.tensor(mask).long(), settings
        ).numpy()
    model.generation_config.use_cache = False
    assert (found == torch_tokens(model, ids, mask, settings)).all()


@pytest.mark.parametrize("beams", [1, 3])
def test_a_generation_config_is_followed_as_in_transformers_scripts(beams):
    """There, `generate` gets flags, and the rest from the model; pads are 9 here."""
    torch = pytest.importorskip("torch")
    from transformers import GenerationConfig

    from reference_trainers.pytorch.generate import generate

    model = talkative(torch_t5(False), False)
    model.generation_config = own = GenerationConfig(
        repetition_penalty=1.2,
        bad_words_ids=[[73], [0, 80], [1]],  # an end alone is said all the same
        suppress_tokens=[24, 33],
        max_new_tokens=7,
        min_length=4,
        **{"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 9},
    )
    spec = TrainingSpec(
        predict_with_generate=True, val_max_target_length=5, num_beams=beams
    )
    settings = generation_settings(spec, own, model.config)
    assert settings is not None
    ids, mask = (torch.tensor(array).long() for array in inputs(0))
    with float64_t5(), torch.no_grad():
        flags = {"max_length": 5, "num_beams": beams}
        wanted = model.generate(ids, attention_mask=mask, **flags)
        found = generate(model, ids, mask, settings)
    assert settings.bad_words_ids == ((73,), (0, 80))
    assert wanted.shape == (ROWS, 8)
    assert (found == wanted).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_tokens_of_a_deeper_decoder_are_transformers(framework):
    settings = settings_of(**CASES["beams"])
    model = talkative(torch_t5(False, num_layers=1, num_decoder_layers=2), False)
    network = ours(framework, model, "float64")
    ids, mask = inputs(0)
    model.generation_config.use_cache = False
    wanted = torch_tokens(model, ids, mask, settings)
    assert (network.generate(ids, mask, settings) == wanted).all()
