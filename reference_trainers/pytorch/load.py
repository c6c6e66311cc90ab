"""transformers' model with the weights of a source, and its weights by name."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from reference_trainers.errors import InputError, sentence_of
from reference_trainers.models.source import ModelSource
from reference_trainers.pytorch.sharded import laid_out, part
from reference_trainers.spec import TrainingSpec

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def require_own_precision(spec: TrainingSpec) -> None:
    """Refuses a precision that `accelerate launch` asks for and the spec does not."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    half = {"bfloat16": "bf16", "float16": "fp16"}.get(spec.compute_dtype, "no")
    if asked not in ("no", half):
        raise InputError(
            f"accelerate's mixed_precision is {asked}, which the spec does not say: "
            "give --bf16 or --fp16 to the script, mixed_precision no to the launcher."
        )


def load_model(spec: TrainingSpec, source: ModelSource) -> PreTrainedModel:
    """transformers' model with the weights of `source`."""
    require_own_precision(spec)
    dtype = DTYPES[spec.dtype]
    transformers_logging.disable_progress_bar()  # of every load, on stderr
    if source.folder is None:
        model = AutoModelForSeq2SeqLM.from_config(source.config)
        load_weights(model.to(dtype), source.weights())
    else:
        model = from_folder(spec, source, dtype)
    if spec.gradient_checkpointing:
        # Its name from transformers 5.2x on, and before
        late, early = "activation_checkpointing_enable", "gradient_checkpointing_enable"
        getattr(model, late if hasattr(model, late) else early)()
    if spec.fp16:
        keep_wide(model)
    return model


def keep_wide(model: PreTrainedModel) -> None:
    """Lets no autocast shorten the products that overflow float16: T5's `wo`.

    transformers lists them in `_keep_in_fp32_modules`, and casts their inputs, but only
    where the whole model is loaded in float16.
    """
    names = model._keep_in_fp32_modules or ()
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in names:
            module.forward = partial(_wide, module.forward)


def _wide(forward: Any, states: torch.Tensor) -> torch.Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return forward(states.float())


def from_folder(
    spec: TrainingSpec, source: ModelSource, dtype: torch.dtype
) -> PreTrainedModel:
    """The model in a folder; a weight that does not fit the config is refused by name.

    transformers would draw a missing one anew, and differently each time.
    """
    flag = f"--model_name_or_path {spec.model_name_or_path}"
    load = partial(
        AutoModelForSeq2SeqLM.from_pretrained,
        source.folder,
        use_safetensors=True,
        trust_remote_code=source.trust_remote_code,
    )
    if source.tokens_in_files is not None:
        # Not resize_token_embeddings: it ties a head of T5 1.1 to the embeddings.
        model_class = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(source.config)]
        values = {n: torch.from_numpy(w) for n, w in source.weights().items()}
        load = partial(model_class.from_pretrained, None, state_dict=values)
    try:
        model, found = load(
            config=source.config,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # each architecture raises its own
        raise InputError(f"{flag}: cannot be loaded: {sentence_of(error)}") from error
    for name, there, wanted in sorted(found["mismatched_keys"]):
        raise InputError(
            f"{flag}: {name}: its shape is {tuple(there)}, but config.json asks for "
            f"{tuple(wanted)}."
        )
    for name in sorted(found["missing_keys"]):
        raise InputError(f"{flag}: {name}: no such weight in the model's files.")
    for name in sorted(found["unexpected_keys"]):
        raise InputError(
            f"{flag}: {name}: config.json describes a model without this weight. Give "
            "the config.json that belongs to it."
        )
    # They are views of the file, which would keep its place on the disk when deleted.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers as `save_pretrained` names them; a tied weight once."""
    tensors, places = {}, set()
    for name, tensor in model.state_dict().items():
        place = part(tensor).data_ptr()
        if place not in places or part(tensor).numel() == 0:
            places.add(place)
            tensors[name] = tensor
    return tensors


def load_weights(model: nn.Module, values: Any) -> None:
    """The reverse of `weights`; the shapes must fit."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in values:
                given = torch.from_numpy(np.array(values[name]))
                tensor.copy_(laid_out(given, tensor))
