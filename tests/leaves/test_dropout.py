"""The masks of every framework in PyTorch: bits, places, and what cannot have them."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import (  # noqa: E402
    AutoModelForSeq2SeqLM,
    BartConfig,
    SwitchTransformersConfig,
    T5Config,
    UMT5Config,
)

from reference_trainers.pytorch import masks  # noqa: E402
from reference_trainers.pytorch.dropout import (  # noqa: E402
    dropped,
    with_common_dropout,
)
from reference_trainers.pytorch.masks import CHUNK, Draw  # noqa: E402
from reference_trainers.recipe.randomness import (  # noqa: E402
    LEVELS,
    dropped_levels,
    kept,
)
from tests.leaves.t5_oracle import torch_t5  # noqa: E402

SIZES = {"d_model": 16, "d_ff": 32, "num_heads": 2, "d_kv": 8, "vocab_size": 50}
TOKENS = torch.randint(2, 50, (3, 7), generator=torch.Generator().manual_seed(0))
SHAPES = [(2, 3, 5, 7), (3, 4, 9), (2, 8), (2, CHUNK // 64, 130), (1, 2, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("chunk", [CHUNK, 1], ids=["numpy", "torch"])
def test_the_elements_that_stay_are_those_of_the_definition(shape, chunk, monkeypatch):
    monkeypatch.setattr(masks, "CHUNK", chunk)
    draw = Draw(places=5)
    for place, seed in enumerate((0, 1, 2**31 - 1, 12345, 1 << 20)):
        draw.begin(seed, first_row=0)
        made = dropped(torch.ones(shape, dtype=torch.float64), 0.1, draw, place)
        stays = kept(shape, seed, place, 0.1)
        assert np.array_equal(made.numpy() > 0, stays)
        assert {*made.numpy()[stays]} <= {LEVELS / (LEVELS - dropped_levels(0.1))}


def test_places_that_are_alike_are_drawn_for_together_with_the_same_bits():
    """Guessed from the micro-batch before; a guess that fails costs only time."""
    drawn_for: list[list[int]] = []

    class Seen(Draw):
        def drawn(self, kind, places):
            drawn_for.append([*places])
            return super().drawn(kind, places)

    draw, x = Seen(places=4), torch.ones(CHUNK, dtype=torch.float64)

    def passed(*shapes: tuple[int, ...]) -> list[list[int]]:
        seed = len(drawn_for) + 1
        draw.begin(seed, first_row=0)
        drawn_for.clear()
        for place, shape in enumerate(shapes):
            made = dropped(x[: np.prod(shape)].reshape(shape), 0.1, draw, place)
            assert np.array_equal(made.numpy() > 0, kept(shape, seed, place, 0.1))
        return [*drawn_for]

    one, other = (2, 3, 5), (2, 4, 5)
    assert passed(one, one, other, one) == [[0], [1], [2], [3]]
    assert passed(one, one, other, one) == [[0, 1, 3], [2]]
    # Sources and targets of one length, then of two again
    assert passed(other, other, other, other) == [[0, 1, 3], [2]]
    assert passed(one, one, other, one) == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert passed(one, one, other, one) == [[0, 1, 3], [2]]
    # What is large has no need of it
    large = (2, CHUNK // 4)
    assert passed(large, large, one, large) == [[0], [1], [2], [3]]


def test_a_row_has_its_masks_in_whatever_process():
    whole, part = Draw(places=1), Draw(places=1)
    whole.begin(seed=7, first_row=0)
    part.begin(seed=7, first_row=2)
    x = torch.ones(4, 3, 6)
    assert torch.equal(dropped(x, 0.5, whole, 0)[2:], dropped(x[2:], 0.5, part, 0))


def test_a_rate_of_nothing_changes_nothing():
    x = torch.ones(2, 3)
    assert dropped(x, 0.0, Draw(places=1), 0) is x


@pytest.mark.parametrize(
    "config", [T5Config, UMT5Config], ids=lambda each: each.__name__
)
def test_every_place_of_an_architecture_like_t5_is_replaced(config):
    model = AutoModelForSeq2SeqLM.from_config(config(num_layers=2, **SIZES))
    draw = with_common_dropout(model)
    assert draw is not None
    # Attention, its output, and two of a feed-forward; two of a stack as a whole
    assert draw.places == 2 * 4 + 2 + 2 * 6 + 2
    assert not [each for each in model.modules() if type(each) is torch.nn.Dropout]


def test_architectures_that_drop_by_themselves_keep_their_own_masks():
    bart = BartConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8,
        decoder_ffn_dim=8, encoder_attention_heads=2, decoder_attention_heads=2,
        vocab_size=50,
    )  # fmt: skip
    switch = SwitchTransformersConfig(num_layers=2, num_experts=2, **SIZES)
    for config in (bart, switch):
        model = AutoModelForSeq2SeqLM.from_config(config)
        usual = model.config._attn_implementation
        assert with_common_dropout(model) is None
        assert model.config._attn_implementation == usual


def test_nothing_else_about_the_model_changes():
    usual = torch_t5(gated=True, dropout_rate=0.1)
    model = copy.deepcopy(usual)
    with_common_dropout(model)
    assert not model.training
    assert model.state_dict().keys() == usual.state_dict().keys()
    assert model.config.to_dict() == usual.config.to_dict()
    mask = torch.ones_like(TOKENS)
    mask[1, 4:] = 0
    for given in ({}, {"attention_mask": mask}):
        both = [
            each(input_ids=TOKENS, decoder_input_ids=TOKENS, **given).logits
            for each in (model, usual)
        ]
        assert torch.equal(*both)


def test_without_a_share_to_drop_training_computes_as_transformers_does():
    usual = torch_t5(gated=True, dropout_rate=1e-9)  # below a level: nothing is dropped
    model = copy.deepcopy(usual)
    with_common_dropout(model)
    mask = torch.ones_like(TOKENS)
    mask[1, 4:] = 0
    for given in ({}, {"attention_mask": mask}):
        both = [
            each.train()(input_ids=TOKENS, decoder_input_ids=TOKENS, **given).logits
            for each in (model, usual)
        ]
        assert torch.allclose(*both, rtol=0, atol=1e-5)


def test_gradient_checkpointing_computes_again_with_the_same_masks():
    def gradient(checkpointing):
        model = torch_t5(gated=True, dropout_rate=0.3)
        draw = with_common_dropout(model)
        assert draw is not None
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train()
        for seed in (1, 2):
            draw.begin(seed, first_row=0)
            made = model(input_ids=TOKENS, decoder_input_ids=TOKENS, use_cache=False)
            made.logits.square().mean().backward()
        return {name: p.grad for name, p in model.named_parameters()}

    plain, again = gradient(False), gradient(True)
    for name, expected in plain.items():
        assert torch.allclose(again[name], expected, rtol=1e-6, atol=1e-9), name
