"""A tokenizer with more tokens than the model: rows for them, the same everywhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from fixtures.models import tiny_bart, tiny_t5
from reference_trainers.errors import InputError
from reference_trainers.models.source import ModelSource, load_model
from reference_trainers.models.t5 import t5_weights
from reference_trainers.spec import TrainingSpec

NEW = ["[DATE]", "[PLACE]", "[NAME]"]


def with_new_tokens(folder: Path) -> Path:
    """Gives the model's tokenizer tokens that the model does not know."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.add_tokens(NEW) == len(NEW)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(folder: Path, **flags: Any) -> ModelSource:
    return load_model(TrainingSpec(model_name_or_path=str(folder), **flags))


@pytest.mark.parametrize("tied", [True, False])
def test_old_rows_stay_and_new_ones_are_near_their_mean(
    tmp_path: Path, tied: bool
) -> None:
    folder = with_new_tokens(tiny_t5(tmp_path, tied=tied, gated=not tied))
    before = load_file(folder / "model.safetensors")
    source = loaded(folder)
    weights = source.weights()
    names = {"shared.weight"} if tied else {"shared.weight", "lm_head.weight"}
    had = len(before["shared.weight"])
    assert source.config.vocab_size == len(source.tokenizer) == had + len(NEW)
    for name, old in before.items():
        if name not in names:
            assert np.array_equal(weights[name], old)
            continue
        new = weights[name][had:]
        assert np.array_equal(weights[name][:had], old)
        assert new.shape == (len(NEW), old.shape[1]) and new.dtype == old.dtype
        # As transformers has it: the deviation of the old rows x sqrt(1e-9)
        assert 0 < np.abs(new - old.mean(0)).max() < 5 * old.std(0).max() * 1e-9**0.5
        assert not np.array_equal(new[0], new[1])
    assert t5_weights(source.config, weights).keys() == before.keys()


def test_rows_depend_on_the_seed_alone(tmp_path: Path) -> None:
    folder = with_new_tokens(tiny_t5(tmp_path))
    first, again, other = (
        loaded(folder, seed=seed).weights()["shared.weight"][-3:] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_it_is_said(tmp_path: Path) -> None:
    folder = tiny_t5(tmp_path)
    assert loaded(folder).warnings(TrainingSpec()) == []
    size = len(AutoTokenizer.from_pretrained(folder))
    assert loaded(with_new_tokens(folder)).warnings(TrainingSpec()) == [
        f"The tokenizer has {size + 3} tokens and the model {size}: its embeddings "
        "get 3 rows more."
    ]


def test_embeddings_to_spare_stay(tmp_path: Path) -> None:
    folder = tiny_t5(tmp_path / "model")
    smaller = tiny_t5(tmp_path / "smaller", vocab_size=300)
    source = loaded(folder, tokenizer_name=str(smaller))
    rows = len(load_file(folder / "model.safetensors")["shared.weight"])
    assert len(source.tokenizer) < source.config.vocab_size == rows
    assert len(source.weights()["shared.weight"]) == rows


def test_a_new_model_has_as_many_rows_as_the_tokenizer_has_tokens(
    tmp_path: Path,
) -> None:
    folder = str(with_new_tokens(tiny_t5(tmp_path)))
    source = load_model(
        TrainingSpec(model_type="t5", config_name=folder, tokenizer_name=folder)
    )
    assert len(source.weights()["shared.weight"]) == len(source.tokenizer)


def test_transformers_takes_the_rows_of_bart_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="not run: PyTorch is not installed")
    from reference_trainers.pytorch.load import load_model as torch_model

    folder = with_new_tokens(tiny_bart(tmp_path))
    spec = TrainingSpec(model_name_or_path=str(folder), max_source_length=64)
    source = load_model(spec)
    model, weights = torch_model(spec, source), source.weights()
    state = model.state_dict()
    for name, values in weights.items():
        assert torch.equal(state[name], torch.from_numpy(values)), name
    size = len(source.tokenizer)
    assert state["final_logits_bias"].shape == (1, size)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.config.vocab_size == model.lm_head.out_features == size


@pytest.mark.parametrize(
    "name", ["max_source_length", "max_target_length", "val_max_target_length"]
)
def test_more_tokens_than_the_model_has_positions_are_refused(
    tmp_path: Path, name: str
) -> None:
    folder = tiny_bart(tmp_path)
    lengths = {"max_source_length": 256, "max_target_length": 256}
    assert loaded(folder, **lengths).folder == folder
    with pytest.raises(InputError, match=f"^--{name} 300: the model has 256 positions"):
        loaded(folder, **lengths | {name: 300})


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoder_start_token_id", "t5"),
        ("decoder_start_token_id", -1),
        ("decoder_start_token_id", []),
        ("pad_token_id", 2**31),
        ("eos_token_id", [1, 2**31]),
    ],
)
def test_a_token_that_the_model_has_not_is_refused(
    tmp_path: Path, file: str, name: str, value: Any
) -> None:
    path = tiny_t5(tmp_path, num_layers=1) / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, name: value}))
    with pytest.raises(InputError, match=rf"^--model_name_or_path .*{name}"):
        loaded(tmp_path)


def test_a_refusal_is_all_that_is_said(tmp_path: Path, caplog: Any) -> None:
    """transformers would warn of the same token, in words of its own."""
    path = tiny_t5(tmp_path, num_layers=1) / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "eos_token_id": -7}))
    logger = logging.getLogger("transformers")
    before, propagates = logger.level, logger.propagate
    logger.propagate = True
    try:
        with pytest.raises(InputError, match="eos_token_id"):
            loaded(tmp_path)
    finally:
        logger.setLevel(before)
        logger.propagate = propagates
    assert caplog.messages == []


def test_half_a_character_in_a_setting_is_refused(tmp_path: Path) -> None:
    file = tiny_t5(tmp_path) / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8")) | {"backend": "\ud800"}
    file.write_text(json.dumps(settings), "utf-8")
    with pytest.raises(InputError, match=r"tokenizer_config\.json holds what no file"):
        loaded(tmp_path).settings_names()
