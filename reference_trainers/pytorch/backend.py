"""What both PyTorch trainers share: model, loss, generation and state.

The model is transformers' own, of any architecture AutoModelForSeq2SeqLM knows.
"""

from __future__ import annotations

import contextlib
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoModelForSeq2SeqLM,
    DynamicCache,
    EncoderDecoderCache,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from reference_trainers.data.batches import NO_TARGET, Batch
from reference_trainers.errors import InputError
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource, first_line
from reference_trainers.protocols import State
from reference_trainers.recipe.randomness import dropout_seed
from reference_trainers.spec import TrainingSpec

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TorchBackend:
    """`Backend` without its `train_step`, which the two trainers do differently."""

    devices = 1
    pad_to_multiple_of = 1  # nothing is compiled: no shape costs anything

    def __init__(self, spec: TrainingSpec, model: PreTrainedModel, device: str):
        self.spec = spec
        self.device = torch.device(device)
        self.model = model.to(self.device)
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

    def peak_memory_bytes(self) -> int:
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        self.model.eval()
        inputs = tensors(batch, self.device)
        labels = inputs.pop("labels")
        with torch.no_grad(), self.autocast():
            logits = self.model(**inputs, use_cache=False).logits
        loss = token_loss(logits, labels, self.spec.label_smoothing_factor)
        return loss.item(), batch.target_tokens

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        self.model.eval()
        inputs = tensors(batch, self.device)
        with torch.no_grad(), self.autocast():
            tokens = self.model.generate(
                inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=generation_config(settings),
                **own_cache(self.model.config),
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
        return State(weights(self.model), **moments, updates=updates)

    def restore(self, state: State) -> None:
        load_weights(self.model, state.parameters)
        self.resumed = state
        optimizer = self.optimizer()
        if optimizer is not None:
            self.restore_moments(optimizer)

    def restore_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives a new optimizer the moments of the run that goes on."""
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

    def autocast(self) -> contextlib.AbstractContextManager:
        """bfloat16 where the spec asks for it; parameters stay as they are."""
        if self.spec.bf16:
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()


def load_model(spec: TrainingSpec, source: ModelSource) -> PreTrainedModel:
    """transformers' model with the weights of `source`."""
    dtype = DTYPES[spec.dtype]
    transformers_logging.set_verbosity_error()  # it narrates every load on stderr
    transformers_logging.disable_progress_bar()
    try:
        if source.folder is None:
            model = AutoModelForSeq2SeqLM.from_config(source.config)
            load_weights(model.to(dtype), source.weights())
        elif source.tokens_in_files is not None:
            # Not resize_token_embeddings: it ties a head of T5 1.1 to the embeddings
            kind = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING[type(source.config)]
            values = {n: torch.from_numpy(w) for n, w in source.weights().items()}
            model = kind.from_pretrained(
                None, config=source.config, state_dict=values, dtype=dtype
            )
        else:
            model = AutoModelForSeq2SeqLM.from_pretrained(
                source.folder,
                config=source.config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=source.trust_remote_code,
            )
    except InputError:
        raise
    except Exception as error:  # each architecture raises its own
        reason = first_line(error)
        if "ignore_mismatched_sizes" in reason:  # a flag that only its code has
            reason = "its weights are not of the shapes that its config.json gives."
        flag = f"--model_name_or_path {spec.model_name_or_path}"
        raise InputError(f"{flag}: cannot be loaded: {reason}") from error
    if spec.gradient_checkpointing:
        # Its name from transformers 5.2x on, and before
        late, early = "activation_checkpointing_enable", "gradient_checkpointing_enable"
        getattr(model, late if hasattr(model, late) else early)()
    return model


def tensors(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The arrays of a batch as int64 tensors: input_ids, attention_mask,
    decoder_input_ids, labels; each (batch, length)."""
    return {
        name: torch.from_numpy(values.astype(np.int64)).to(device)
        for name, values in vars(batch).items()
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


def generation_config(settings: GenerationSettings) -> GenerationConfig:
    """The settings in transformers' own words."""
    words = vars(settings) | {"eos_token_id": list(settings.eos_token_ids)}
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


def weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and buffers as `save_pretrained` names them; a tied weight once."""
    tensors, names = {}, set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in names or tensor.numel() == 0:
            names.add(tensor.data_ptr())
            tensors[name] = array(tensor)
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


def seed_dropout(seed: int, step: int, micro_batch: int) -> None:
    """All that is random from here on depends on (seed, step, micro-batch) alone."""
    torch.manual_seed(dropout_seed(seed, step, micro_batch))
