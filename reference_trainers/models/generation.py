"""What `generate` is asked for: the model's own settings under the user's flags."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from reference_trainers.errors import InputError

if TYPE_CHECKING:
    from reference_trainers.spec import TrainingSpec


EARLY_STOPPING = {"true": True, "false": False}  # of a command line


@dataclass(frozen=True)
class GenerationSettings:
    """Greedy or beam search, as `transformers.GenerationConfig` defines each field.

    Lengths count tokens of the decoder, its start token included.
    """

    max_length: int
    decoder_start_token_id: int
    pad_token_id: int
    eos_token_ids: tuple[int, ...]
    min_length: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram_size: int = 0
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None


# What a generation config may say beside `GenerationSettings`: the flags decide the
# length, a cache changes no token, and the rest tells where the config comes from
WITHOUT_EFFECT = {
    *("max_length", "bos_token_id", "use_cache", "cache_implementation"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("return_dict_in_generate", "transformers_version", "_from_model_config"),
}


def generation_settings(
    spec: TrainingSpec, generation_config: Any, config: Any
) -> GenerationSettings:
    """Flags win, then the model's `generation_config`, then its `config`.

    Raises `InputError` for a setting of the model's own that no search here follows.
    """
    known = {"eos_token_id", *(field.name for field in fields(GenerationSettings))}
    for name, value in generation_config.to_diff_dict().items():
        if spec.predict_with_generate and name not in known | WITHOUT_EFFECT:
            raise InputError(
                f"generation_config.json: {name} is {value}, which no search here "
                "follows. Take it out of the model's folder."
            )

    def setting(name: str, default: Any = None) -> Any:
        for source in (generation_config, config):
            value = getattr(source, name, None)
            if value is not None:
                return value
        return default

    def flag(name: str, default: Any) -> Any:
        value = getattr(spec, name)
        return setting(name, default) if value is None else value

    stopping = flag("early_stopping", False)
    eos = setting("eos_token_id", ())
    pad = setting("pad_token_id", 0)
    return GenerationSettings(
        max_length=spec.longest_generation,
        decoder_start_token_id=setting("decoder_start_token_id", pad),
        pad_token_id=pad,
        eos_token_ids=tuple(eos) if isinstance(eos, (list, tuple)) else (eos,),
        min_length=flag("min_length", 0),
        num_beams=flag("num_beams", 1),
        length_penalty=flag("length_penalty", 1.0),
        early_stopping=EARLY_STOPPING.get(stopping, stopping),
        no_repeat_ngram_size=flag("no_repeat_ngram_size", 0),
        forced_bos_token_id=setting("forced_bos_token_id"),
        forced_eos_token_id=setting("forced_eos_token_id"),
    )
