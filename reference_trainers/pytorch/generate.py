"""Greedy and beam search by transformers' own `generate`: the oracle of the others."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    PreTrainedModel,
)

from reference_trainers.models.generation import GenerationSettings


def generate(
    model: PreTrainedModel,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    settings: GenerationSettings,
) -> torch.Tensor:
    """Token ids, int64 (batch, length), of inputs that are int64 (batch, source)."""
    return model.generate(
        input_ids,
        attention_mask=attention_mask,
        generation_config=generation_config(settings),
        **own_cache(model.config),
    )


def generation_config(settings: GenerationSettings) -> GenerationConfig:
    """The settings in transformers' own words."""
    words = vars(settings) | {
        "eos_token_id": list(settings.eos_token_ids),
        # None and not empty: transformers refuses to be given no bad word
        "bad_words_ids": [list(word) for word in settings.bad_words_ids] or None,
        "suppress_tokens": list(settings.suppress_tokens) or None,
    }
    del words["eos_token_ids"]
    if settings.num_beams == 1:  # transformers warns of beam flags without beams
        del words["length_penalty"], words["early_stopping"]
    return GenerationConfig(do_sample=False, **words)


def own_cache(config: Any) -> dict[str, Any]:
    """A cache that grows with the decoder, where transformers' own would be too small.

    It counts a T5's encoder layers, and a deeper decoder finds no place in it.
    """
    encoder_layers = getattr(config, "num_hidden_layers", 0)
    if getattr(config, "num_decoder_layers", 0) <= encoder_layers:
        return {}
    return {"past_key_values": EncoderDecoderCache(DynamicCache(), DynamicCache())}
