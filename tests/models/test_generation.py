"""What `generate` is asked for, and what of a model's own settings is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import BartConfig, GenerationConfig, T5Config

from reference_trainers import InputError, TrainingSpec
from reference_trainers.models.generation import (
    GenerationSettings,
    generation_settings,
    in_a_table,
    length_warnings,
    read_generation_config,
)

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


def settings_of(
    own: dict[str, Any], spec: TrainingSpec = SPEC, config: Any = None
) -> GenerationSettings:
    """What a run has of a model whose generation config says `own`."""
    config = config or T5Config(vocab_size=50)
    settings = generation_settings(spec, GenerationConfig(**PLAIN | own), config)
    assert settings is not None
    return settings


def test_flags_win_over_the_models_own_settings() -> None:
    settings = settings_of(BART)
    assert settings.num_beams == 3
    assert settings.min_length == 56
    assert settings.length_penalty == 2.0
    assert settings.max_length == SPEC.longest_generation


def test_the_models_own_settings_are_followed() -> None:
    own = {
        "repetition_penalty": 1.5,
        "bad_words_ids": [[7, 8], [1], [9]],  # transformers drops an end token alone
        "suppress_tokens": [3, 49],
    }
    settings = settings_of(own)
    assert settings.repetition_penalty == 1.5
    assert settings.bad_words_ids == ((7, 8), (9,))
    assert settings.suppress_tokens == (3, 49)
    assert hash(settings) == hash(settings)
    # As in transformers, these change nothing
    unset = {"repetition_penalty": 1, "suppress_tokens": []}
    assert settings_of(unset) == settings_of({})


@pytest.mark.parametrize("new", [3, 2000])
def test_max_new_tokens_wins_over_the_flags(new: int) -> None:
    """As in transformers: it counts no start token, which the flags do. It is told."""
    assert settings_of({"max_new_tokens": new}).max_length == new + 1
    (warning,) = length_warnings(SPEC, GenerationConfig(max_new_tokens=new))
    assert f"max_new_tokens is {new}" in warning
    assert length_warnings(SPEC, GenerationConfig()) == []
    same = GenerationConfig(max_new_tokens=SPEC.longest_generation - 1)
    assert length_warnings(SPEC, same) == []
    assert length_warnings(TrainingSpec(), GenerationConfig(max_new_tokens=new)) == []


def test_a_min_length_that_max_new_tokens_leaves_no_room_for() -> None:
    own = {"max_new_tokens": 3}
    assert settings_of(own, TrainingSpec(predict_with_generate=True, min_length=4))
    with pytest.raises(InputError, match=r"--min_length 5.*max_new_tokens 3"):
        settings_of(own, TrainingSpec(predict_with_generate=True, min_length=5))
    # The model's own is followed, as in transformers: then no answer ends by itself
    assert settings_of(own | {"min_length": 56}).min_length == 56


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("begin_suppress_tokens", [3]),
        ("encoder_repetition_penalty", 2.0),
        ("min_new_tokens", 3),
        ("do_sample", True),
        ("num_beam_groups", 2),
    ],
)
def test_a_setting_that_no_search_follows_is_refused_by_name(
    name: str, value: object
) -> None:
    with pytest.raises(InputError, match=f"generation_config.json: {name} is"):
        settings_of({name: value})


MEANINGLESS: dict[str, list[Any]] = {
    "repetition_penalty": [0.0, -1.5, 2, "1.5"],
    "bad_words_ids": [[], [[]], [7], [[7], []], "no", [[-1]], [[50]], [[2.0]], [[1]]],
    "suppress_tokens": [[-1], [50], ["3"]],
    "max_new_tokens": [2.5, True],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in MEANINGLESS.items() for value in values],
)
def test_a_value_without_a_meaning_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        settings_of({name: value})
    assert f"generation_config.json: {name} is {value}: give " in str(caught.value)


def test_nothing_is_refused_where_nothing_is_generated() -> None:
    config = GenerationConfig(do_sample=True, bad_words_ids=[[]])
    assert generation_settings(TrainingSpec(), config, T5Config()) is None


def test_max_new_tokens_must_fit_the_models_positions() -> None:
    config = BartConfig(vocab_size=50, max_position_embeddings=16)
    assert settings_of({"max_new_tokens": 16}, config=config).max_length == 17
    with pytest.raises(InputError, match=r"max_new_tokens is 17: .* 16 positions"):
        settings_of({"max_new_tokens": 17}, config=config)


def test_a_forced_token_is_not_suppressed() -> None:
    """transformers refuses it where one file says both."""
    config = BartConfig(vocab_size=50)
    settings = settings_of({"suppress_tokens": [8]}, config=config)
    assert settings.forced_eos_token_id == 2
    with pytest.raises(InputError, match="leave out 2, which forced_eos_token_id"):
        settings_of({"suppress_tokens": [8, 2]}, config=config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", "3"),
        ("suppress_tokens", 3),
        ("suppress_tokens", [[3]]),
    ],
)
def test_a_file_that_transformers_refuses_is_an_input_error(
    tmp_path: Path, name: str, value: object
) -> None:
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps(PLAIN | {name: value}))
    with pytest.raises(InputError) as caught:
        read_generation_config(tmp_path, T5Config())
    assert str(caught.value).startswith(f"{file}: {name} is {value}: ")
    for text in ("{", "[3]"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"generation_config.json: \S"):
            read_generation_config(tmp_path, T5Config())


def test_sequences_in_a_table_end_together() -> None:
    assert in_a_table([[7], [1, 2, 3]]).tolist() == [[-1, -1, 7], [1, 2, 3]]
