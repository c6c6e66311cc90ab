"""Where a model comes from: config, tokenizer and weights, as numpy, for any framework.

Reads Hugging Face layout only (config.json and safetensors); never a pickle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers import logging as transformers_logging

from reference_trainers.errors import InputError, sentence_of
from reference_trainers.files import files_in
from reference_trainers.models.download import folder_of
from reference_trainers.models.generation import (
    length_warnings,
    read_generation_config,
)
from reference_trainers.models.t5 import t5_initial_weights
from reference_trainers.models.vocabulary import with_more_tokens
from reference_trainers.models.weights import (
    WEIGHTS,
    WEIGHTS_INDEX,
    read_weights,
    weight_files,
)
from reference_trainers.recipe.plan import Padding
from reference_trainers.spec import TrainingSpec

# One of them at least; without any, transformers makes up an empty tokenizer
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "spiece.model", "vocab.json"),
    *("vocab.txt", "sentencepiece.bpe.model"),
)
FROM_SCRATCH = ("t5", "mt5")


class Shapes(Protocol):
    """What a backend says of the shapes of batches (`protocols.Backend` has it)."""

    pad_to_multiple_of: int
    uniform_batches: bool


@dataclass(frozen=True)
class ModelSource:
    """One model before any framework has seen it."""

    folder: Path | None
    """Where the weights lie; None: they are new, from `seed`."""
    config: Any
    """transformers' config."""
    generation_config: Any
    """transformers' GenerationConfig."""
    tokenizer: Any
    """transformers' tokenizer."""
    seed: int
    trust_remote_code: bool = False
    tokens_in_files: int | None = None
    """Where the tokenizer has more tokens than the files have rows of embeddings: how
    many those are; `config` and `weights` have as many as the tokenizer."""

    def warnings(self, spec: TrainingSpec) -> list[str]:
        """What the user should know of the model in this run."""
        found = length_warnings(spec, self.generation_config)
        if self.tokens_in_files is None:
            return found
        return [
            *found,
            f"The tokenizer has {self.config.vocab_size} tokens and the model "
            f"{self.tokens_in_files}: its embeddings get "
            f"{self.config.vocab_size - self.tokens_in_files} rows more.",
        ]

    @property
    def decoder_start_token_id(self) -> int:
        for source in (self.generation_config, self.config):
            token = getattr(source, "decoder_start_token_id", None)
            if token is not None:
                return token
        return self.pad_token_id  # T5's start token

    @property
    def pad_token_id(self) -> int:
        token = self.tokenizer.pad_token_id
        return getattr(self.config, "pad_token_id", 0) if token is None else token

    def weights(self) -> dict[str, np.ndarray]:
        """All weights by Hugging Face name; whole in memory."""
        if self.folder is None:
            return t5_initial_weights(self.config, self.seed)
        weights = read_weights(self.folder)
        if self.tokens_in_files is None:
            return weights
        return with_more_tokens(
            weights, self.tokens_in_files, self.config.vocab_size, self.seed
        )

    def save_settings(self, folder: Path) -> None:
        """Writes config, generation config and tokenizer files into `folder`."""
        self.config.save_pretrained(folder)
        self.generation_config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def settings_names(self) -> set[str]:
        """The names of the files that `save_settings` writes."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.save_settings(Path(folder))
            except UnicodeEncodeError as error:  # half a character, which JSON can name
                raise InputError(
                    "--model_name_or_path: config.json or tokenizer_config.json holds "
                    f"what no file can hold: {sentence_of(error)}"
                ) from error
            return {*files_in(Path(folder))}

    def with_weights_of(self, folder: Path) -> ModelSource:
        """The same model with the weights in `folder`, a checkpoint say."""
        return replace(self, folder=folder, tokens_in_files=None)

    def padding(
        self, spec: TrainingSpec, shapes: Shapes, target_length: int
    ) -> Padding:
        """How this model's rows become batches of the shapes that a backend wants."""
        return Padding(
            pad_token_id=self.pad_token_id,
            decoder_start_token_id=self.decoder_start_token_id,
            multiple_of=shapes.pad_to_multiple_of,
            uniform=shapes.uniform_batches,
            source_length=spec.max_source_length if spec.pad_to_max_length else None,
            target_length=target_length if spec.pad_to_max_length else None,
            pads_are_targets=not spec.ignore_pad_token_for_loss,
        )


def load_model(spec: TrainingSpec) -> ModelSource:
    """The model that a spec names.

    Raises `InputError` for a missing or unreadable one, and for one that is not an
    encoder-decoder.
    """
    if spec.model_name_or_path is None:
        return _from_scratch(spec)
    flag = f"--model_name_or_path {spec.model_name_or_path}"
    folder = folder_of(spec.model_name_or_path, flag, spec)
    config = _config(spec.config_name, spec) if spec.config_name else None
    config = config or _read(AutoConfig, folder, flag, spec)
    if not getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{flag}: {config.model_type} is not a sequence-to-sequence model; "
            "give an encoder-decoder such as T5 or BART."
        )
    if not any((folder / name).is_file() for name in (WEIGHTS, WEIGHTS_INDEX)):
        raise InputError(
            f"{flag}: holds no {WEIGHTS}. Weights in another format, pickled ones "
            "among them, are not read: convert them with save_pretrained."
        )
    weight_files(folder)  # PyTorch's are read by transformers, which checks no name
    _require_positions(spec, config, flag)
    tokenizer = _tokenizer(spec, folder, flag)
    tokens_in_files = _fit_vocabulary(config, tokenizer)
    source = ModelSource(
        folder=folder,
        config=config,
        generation_config=read_generation_config(folder, config),
        tokenizer=tokenizer,
        seed=spec.seed,
        trust_remote_code=spec.trust_remote_code,
        tokens_in_files=tokens_in_files,
    )
    _require_tokens(source, flag)
    return source


def architecture(
    spec: TrainingSpec, source: ModelSource, known: Mapping[str, Any], framework: str
) -> Any:
    """What builds the network of `source` in a framework that knows a few types.

    Raises `InputError` for a type that it doesn't know.
    """
    model_type = source.config.model_type
    if model_type not in known:
        raise InputError(
            f"--model_name_or_path {spec.model_name_or_path}: {model_type} is not known"
            f" to the {framework} trainer, which supports {', '.join(known)}. The "
            "PyTorch trainers know more."
        )
    return known[model_type]


def _from_scratch(spec: TrainingSpec) -> ModelSource:
    if spec.model_type is None:
        raise InputError(
            "--model_name_or_path: give a model to fine-tune, or --model_type to "
            "train a new one."
        )
    flag = f"--model_type {spec.model_type}"
    if spec.model_type not in FROM_SCRATCH:
        known = ", ".join(FROM_SCRATCH)
        raise InputError(f"{flag}: a new model can be one of {known}.")
    if spec.tokenizer_name is None:
        raise InputError(f"{flag}: give --tokenizer_name too.")
    tokenizer = _tokenizer(spec, Path(), flag)
    if spec.config_name:
        config = _config(spec.config_name, spec)
    else:
        config = AutoConfig.for_model(spec.model_type)
        config.vocab_size = len(tokenizer)
        config.pad_token_id = config.decoder_start_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    _fit_vocabulary(config, tokenizer)  # all its rows are new: none is added
    generation_config = GenerationConfig.from_model_config(config)
    source = ModelSource(None, config, generation_config, tokenizer, spec.seed)
    _require_tokens(source, flag)
    return source


def _require_positions(spec: TrainingSpec, config: Any, flag: str) -> None:
    """A model of absolute positions has no place for tokens beyond them."""
    positions = getattr(config, "max_position_embeddings", None)
    for name in ("max_source_length", "max_target_length", "val_max_target_length"):
        length = getattr(spec, name)
        if positions is not None and length is not None and length > positions:
            raise InputError(
                f"--{name} {length}: the model has {positions} positions ({flag}). "
                f"Give --{name} {positions} or less."
            )


TOKENS = ("decoder_start_token_id", "pad_token_id", "eos_token_id")


def _require_tokens(source: ModelSource, flag: str) -> None:
    """Raises `InputError` where a config names a token that the model has not."""
    last = source.config.vocab_size - 1
    for file, config in (
        ("config.json", source.config),
        ("generation_config.json", source.generation_config),
    ):
        for name in TOKENS:
            value = getattr(config, name, None)
            tokens = [value]
            if name == "eos_token_id" and isinstance(value, list):
                tokens = value  # of ends alone there may be several
            for token in tokens:
                known = type(token) is int and 0 <= token <= last
                if token is not None and not known:
                    raise InputError(
                        f"{flag}: {name} in {file} is {value}: give a token's id, "
                        f"which is from 0 to {last}."
                    )


def _config(name: str, spec: TrainingSpec) -> Any:
    flag = f"--config_name {name}"
    return _read(AutoConfig, folder_of(name, flag, spec), flag, spec)


def _tokenizer(spec: TrainingSpec, folder: Path, flag: str) -> Any:
    if spec.tokenizer_name:
        flag = f"--tokenizer_name {spec.tokenizer_name}"
        folder = folder_of(spec.tokenizer_name, flag, spec)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(f"{flag}: holds no tokenizer; name one by --tokenizer_name.")
    return _read(AutoTokenizer, folder, flag, spec)


def _read(auto_class: Any, folder: Path, flag: str, spec: TrainingSpec) -> Any:
    transformers_logging.set_verbosity_error()  # what it warns of is refused here
    try:
        return auto_class.from_pretrained(
            folder, trust_remote_code=spec.trust_remote_code, local_files_only=True
        )
    except Exception as error:  # transformers lets each file format raise its own
        what = "config" if auto_class is AutoConfig else "tokenizer"
        raise InputError(f"{flag}: no readable {what}: {sentence_of(error)}") from error


def _fit_vocabulary(config: Any, tokenizer: Any) -> int | None:
    """Gives `config` room for every token; how many it had, None where it had enough.

    Like transformers' scripts: more embeddings than tokens stay as they are.
    """
    had = config.vocab_size
    if len(tokenizer) <= had:
        return None
    config.vocab_size = len(tokenizer)
    return had
