"""What `generate` is asked for, and what of a model's own settings is refused."""

from __future__ import annotations

import pytest
from transformers import GenerationConfig, T5Config

from reference_trainers import InputError, TrainingSpec
from reference_trainers.models.generation import generation_settings

PLAIN = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
SPEC = TrainingSpec(predict_with_generate=True, num_beams=3)
BART = {
    "bos_token_id": 0,
    "early_stopping": True,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "length_penalty": 2.0,
    "max_length": 142,
    "min_length": 56,
    "no_repeat_ngram_size": 3,
    "num_beams": 4,
}


def test_flags_win_over_the_models_own_settings() -> None:
    settings = generation_settings(SPEC, GenerationConfig(**PLAIN, **BART), T5Config())
    assert settings.num_beams == 3
    assert settings.min_length == 56
    assert settings.length_penalty == 2.0
    assert settings.max_length == SPEC.longest_generation


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repetition_penalty", 5.0),
        ("suppress_tokens", [3]),
        ("bad_words_ids", [[7, 8]]),
        ("max_new_tokens", 3),
        ("do_sample", True),
        ("num_beam_groups", 2),
    ],
)
def test_a_setting_that_no_search_follows_is_refused_by_name(
    name: str, value: object
) -> None:
    config = GenerationConfig(**PLAIN, **{name: value})
    with pytest.raises(InputError, match=f"generation_config.json: {name} is"):
        generation_settings(SPEC, config, T5Config())
    # Nothing is generated: nothing to refuse
    generation_settings(TrainingSpec(), config, T5Config())
