"""What `generate` is asked for: the model's own settings under the user's flags."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from transformers import GenerationConfig

from reference_trainers.errors import InputError, sentence_of

if TYPE_CHECKING:
    from reference_trainers.spec import TrainingSpec


GENERATION_CONFIG = "generation_config.json"
EARLY_STOPPING = {"true": True, "false": False}  # of a command line
FORCED = ("forced_bos_token_id", "forced_eos_token_id")
ANY = -1
"""No token: `in_a_table` has it before a short sequence."""


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
    repetition_penalty: float = 1.0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    """Never an end token alone: transformers lets it be said all the same."""
    suppress_tokens: tuple[int, ...] = ()

    @property
    def forced(self) -> list[tuple[int, int]]:
        """Places in an answer, and the only token that may stand there."""
        first, last = self.forced_bos_token_id, self.forced_eos_token_id
        places = ((1, first), (self.max_length - 1, last))
        return [(place, token) for place, token in places if token is not None]


# What a generation config may say beside `GenerationSettings`: the flags decide the
# length (or max_new_tokens does), a cache changes no token, and the rest tells where
# the config comes from
WITHOUT_EFFECT = {
    *("max_length", "bos_token_id", "use_cache", "cache_implementation"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("return_dict_in_generate", "transformers_version", "_from_model_config"),
}
# And these become fields of other names
RENAMED = {"eos_token_id", "max_new_tokens"}


def read_generation_config(folder: Path, config: Any) -> GenerationConfig:
    """The one in `folder`, or what `config` says of generation where it has none.

    Raises `InputError` for one that transformers refuses to read.
    """
    file = folder / GENERATION_CONFIG
    if not file.is_file():
        return GenerationConfig.from_model_config(config)
    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError as error:  # what transformers makes of a file that is not JSON
        raise InputError(f"{file}: {sentence_of(error)}") from error
    except Exception as error:  # a value of a wrong type fails wherever it is used
        refused = _refused(json.loads(file.read_text(encoding="utf-8")))
        raise InputError(f"{file}: {refused}{sentence_of(error)}") from error


def generation_settings(
    spec: TrainingSpec, generation_config: Any, config: Any
) -> GenerationSettings | None:
    """Flags win, then the model's `generation_config`, then its `config`.

    None where nothing is generated. Raises `InputError` for a setting of the model's
    own that no search here follows, and for a value that transformers would refuse.
    """
    if not spec.predict_with_generate:
        return None

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
    ends = tuple(eos) if isinstance(eos, (list, tuple)) else (eos,)
    pad = setting("pad_token_id", 0)
    own = generation_config
    _require_known(own)
    _require_meaning(own, config, ends)
    _require_room(spec, own)
    forced = {name: setting(name) for name in FORCED}
    _require_sayable(own, forced)
    bad_words = (tuple(word) for word in own.bad_words_ids or ())
    return GenerationSettings(
        max_length=longest_answer(spec, own),
        decoder_start_token_id=setting("decoder_start_token_id", pad),
        pad_token_id=pad,
        eos_token_ids=ends,
        min_length=flag("min_length", 0),
        num_beams=flag("num_beams", 1),
        length_penalty=flag("length_penalty", 1.0),
        early_stopping=EARLY_STOPPING.get(stopping, stopping),
        no_repeat_ngram_size=flag("no_repeat_ngram_size", 0),
        **forced,
        # As in transformers: config.json alone does not decide these
        repetition_penalty=own.repetition_penalty or 1.0,
        bad_words_ids=tuple(w for w in bad_words if w not in {(end,) for end in ends}),
        suppress_tokens=tuple(own.suppress_tokens or ()),
    )


def longest_answer(spec: TrainingSpec, generation_config: Any) -> int:
    """The model's `max_new_tokens` wins over the flags, as in transformers' scripts.

    It counts no start token.
    """
    new = generation_config.max_new_tokens
    return spec.longest_generation if new is None else new + 1


def length_warnings(spec: TrainingSpec, generation_config: Any) -> list[str]:
    """Said where the model decides a length for which there is a flag."""
    if not spec.predict_with_generate:
        return []
    if longest_answer(spec, generation_config) == spec.longest_generation:
        return []
    return [
        f"{GENERATION_CONFIG}: max_new_tokens is {generation_config.max_new_tokens}: "
        "it decides how long a summary can be, and --val_max_target_length does not."
    ]


def in_a_table(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """int32 (sequences, longest of them), with `ANY` before those that are shorter."""
    longest = max(map(len, sequences))
    lines = [[ANY] * (longest - len(line)) + [*line] for line in sequences]
    return np.array(lines, np.int32)


def _refused(values: Any) -> str:
    """The first setting that transformers refuses by itself; "" where none is."""
    for name, value in values.items() if isinstance(values, dict) else ():
        try:
            GenerationConfig(**{name: value})
        except Exception:  # the same one that is told
            return f"{name} is {value}: "
    return ""


def _require_known(generation_config: Any) -> None:
    known = RENAMED | {field.name for field in fields(GenerationSettings)}
    for name, value in generation_config.to_diff_dict().items():
        if name not in known | WITHOUT_EFFECT:
            raise InputError(
                f"{GENERATION_CONFIG}: {name} is {value}, which no search here "
                "follows. Take it out of the model's folder."
            )


def _require_meaning(
    generation_config: Any, config: Any, eos_token_ids: tuple[int, ...]
) -> None:
    """Refuses values that would stop transformers' `generate` in its first batch."""
    vocabulary, ends = config.vocab_size, [[end] for end in eos_token_ids]
    positions = getattr(config, "max_position_embeddings", None) or math.inf

    def are_ids(value: Any) -> bool:
        return isinstance(value, list) and all(
            type(token) is int and 0 <= token < vocabulary for token in value
        )

    def are_words(value: Any) -> bool:
        if not isinstance(value, list) or not all(map(are_ids, value)):
            return False
        return [] not in value and any(word not in ends for word in value)

    def is_penalty(value: Any) -> bool:
        return value == 1 or (isinstance(value, float) and value > 0)

    def is_length(value: Any) -> bool:
        return type(value) is int and 0 < value <= positions

    ids = f"token ids from 0 to {vocabulary - 1}"
    limit = "" if positions == math.inf else f" up to the model's {positions} positions"
    for name, is_good, wanted in (
        ("repetition_penalty", is_penalty, "a number above 0 with a decimal point"),
        ("bad_words_ids", are_words, f"lists of {ids}, not of end tokens alone"),
        ("suppress_tokens", are_ids, f"a list of {ids}"),
        ("max_new_tokens", is_length, f"a whole number above 0{limit}"),
    ):
        value = getattr(generation_config, name)
        if value is not None and not is_good(value):
            raise InputError(f"{GENERATION_CONFIG}: {name} is {value}: give {wanted}.")


def _require_sayable(generation_config: Any, forced: dict[str, int | None]) -> None:
    """A token can't be forced and suppressed: then none is left to be said."""
    suppressed = generation_config.suppress_tokens or ()
    for name, token in forced.items():
        if token in suppressed:
            raise InputError(
                f"{GENERATION_CONFIG}: suppress_tokens is {suppressed}: leave out "
                f"{token}, which {name} forces."
            )


def _require_room(spec: TrainingSpec, generation_config: Any) -> None:
    """A flag's shortest answer must fit the model's longest."""
    longest = longest_answer(spec, generation_config)
    if spec.min_length is not None and spec.min_length > longest:
        raise InputError(
            f"--min_length {spec.min_length}: is above the longest generation "
            f"({longest}), which max_new_tokens {generation_config.max_new_tokens} of "
            f"{GENERATION_CONFIG} decides."
        )
