"""What both PyTorch trainers share: model, loss, generation and state.

The model is transformers' own, of any architecture AutoModelForSeq2SeqLM knows.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from reference_trainers.data.batches import NO_TARGET, Arrays, Batch
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import Backend, State
from reference_trainers.pytorch.generate import generate
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.spec import TrainingSpec

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchBackend(Backend):
    """`Backend` without its `train_step`, which the two trainers do differently.

    Nothing is compiled: no shape costs anything, so batches are as small as can be.
    """

    def __init__(self, spec: TrainingSpec, model: PreTrainedModel, device: str):
        self.spec = spec
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.loss_scale = LossScale() if spec.fp16 else None
        self.resumed = State({})
        """Moments to start from; empty for a new run."""

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        """The model in float32 or float64, on the GPU if there is one."""
        use_gpu = torch.cuda.is_available() and not spec.use_cpu
        return cls(spec, load_model(spec, source), "cuda" if use_gpu else "cpu")

    @property
    def device_kind(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return "cpu"

    def peak_memory_bytes(self) -> int | None:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return None

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        self.model.eval()
        inputs = tensors(batch.arrays, self.device)
        labels = inputs.pop("labels")
        with torch.no_grad(), self.autocast():
            logits = self.model(**inputs, use_cache=False).logits
        loss = token_loss(logits, labels, self.spec.label_smoothing_factor)
        return loss.item(), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        self.model.eval()
        inputs = tensors(batch.arrays, self.device)
        with torch.no_grad(), self.autocast():
            tokens = generate(
                self.model, inputs["input_ids"], inputs["attention_mask"], settings
            )
        return tokens.cpu().numpy()

    def state(self) -> State:
        optimizer = self.optimizer()
        moments: dict[str, dict[str, np.ndarray]] = {"exp_avg": {}, "exp_avg_sq": {}}
        updates = 0
        for name, parameter in self.model.named_parameters():
            kept = optimizer.state.get(parameter, {}) if optimizer else {}
            for moment, arrays in moments.items():
                if moment in kept:
                    arrays[name] = array(kept[moment])
            updates = max(updates, int(kept.get("step", 0)))
        values = {n: array(tensor) for n, tensor in weights(self.model).items()}
        return State(values, **moments, updates=updates, loss_scale=self.loss_scale)

    def restore(self, state: State) -> None:
        load_weights(self.model, state.parameters)
        self.resumed = state
        self.loss_scale = state.loss_scale or self.loss_scale
        optimizer = self.optimizer()
        if optimizer is not None:
            self.restore_moments(optimizer)

    def restore_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives a new optimizer the moments of the run that is resumed."""
        for name, parameter in self.model.named_parameters():
            if name in self.resumed.exp_avg:
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.resumed.updates)),
                    "exp_avg": like(parameter, self.resumed.exp_avg[name]),
                    "exp_avg_sq": like(parameter, self.resumed.exp_avg_sq[name]),
                }

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer, once there is one."""
        return None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(t.shape) for name, t in weights(self.model).items()}

    def autocast(self) -> AbstractContextManager:
        """Half precision where the spec asks for it; parameters stay as they are."""
        half = HALF.get(self.spec.compute_dtype)
        return torch.autocast(self.device.type, half) if half else nullcontext()


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
    transformers_logging.set_verbosity_error()  # it narrates every load on stderr
    transformers_logging.disable_progress_bar()
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


def tensors(arrays: Arrays, device: torch.device) -> dict[str, torch.Tensor]:
    """The arrays of a batch as int64 tensors by name; each (batch, length)."""
    return {
        name: torch.from_numpy(values.astype(np.int64)).to(device)
        for name, values in arrays._asdict().items()
    }


def token_loss(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Summed smoothed token loss; at least float32, scalar.

    transformers' LabelSmoother: (1 - e) x nll + e x mean over the vocabulary.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_probs = nn.functional.log_softmax(logits, dim=-1)
    targets = labels != NO_TARGET
    nll = -log_probs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    loss = (1 - smoothing) * nll - smoothing * log_probs.mean(-1) if smoothing else nll
    return loss.masked_fill(~targets, 0.0).sum()


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers as `save_pretrained` names them; a tied weight once."""
    tensors, places = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in places or tensor.numel() == 0:
            places.add(tensor.data_ptr())
            tensors[name] = tensor
    return tensors


def load_weights(model: nn.Module, values: Any) -> None:
    """The reverse of `weights`; the shapes must fit."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name in values:
                tensor.copy_(torch.from_numpy(np.array(values[name])))


def array(tensor: torch.Tensor) -> np.ndarray:
    """A copy on the host."""
    return tensor.detach().to("cpu", copy=True).numpy()


def like(parameter: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values)).to(parameter)
