"""What both PyTorch trainers share: model, loss, generation and state.

The model is transformers' own, of any architecture AutoModelForSeq2SeqLM knows.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
)

from reference_trainers.data.batches import NO_TARGET, Arrays, Batch
from reference_trainers.errors import InputError
from reference_trainers.models.generation import GenerationSettings
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import Backend, State
from reference_trainers.pytorch.dropout import with_common_dropout
from reference_trainers.pytorch.generate import generate
from reference_trainers.pytorch.launcher import require_processes_asked_for
from reference_trainers.pytorch.load import load_model, load_weights, weights
from reference_trainers.pytorch.processes import join, reduced
from reference_trainers.pytorch.sharded import laid_out, unsharded, whole
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.spec import TrainingSpec
from reference_trainers.world import World, world_of

HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchBackend(Backend):
    """`Backend` without its `train_step`, which the two trainers do differently.

    Nothing is compiled: no shape costs anything, so batches are as small as can be. On
    a TPU each shape is compiled by itself. Nothing here ever ran on one.
    """

    def __init__(self, spec: TrainingSpec, model: PreTrainedModel, device: str):
        self.spec = spec
        self.device = torch.device(device)
        self.draw = with_common_dropout(model)
        """None: the model draws torch's own masks."""
        self.model = model.to(self.device)
        self.loss_scale = LossScale() if spec.fp16 else None
        self.world = world_of()
        self.devices = self.world.size
        if device == "tpu":
            self.pad_to_multiple_of = 64
            os.environ["ACCELERATE_TORCH_DEVICE"] = "tpu"  # 1.15 finds none by itself
        self.resumed = State({})
        """Moments to start from; empty for a new run."""

    @classmethod
    def join(cls, world: World, spec: TrainingSpec) -> None:
        """By the variables that torchrun, `accelerate launch` and xla_spawn.py set."""
        join(world, device_of(spec))

    @classmethod
    def reduce(cls, values: np.ndarray) -> np.ndarray:
        return reduced(values)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        """The model in float32 or float64, on the GPU or TPU if there is one."""
        require_processes_asked_for(world_of())
        return cls(spec, load_model(spec, source), device_of(spec))

    @property
    def device_kind(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return self.device.type

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
        with torch.no_grad(), self.autocast(), unsharded(self.model):
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

    def seed_dropout(self, batch: Batch) -> None:
        """Dropout draws from it; other rows draw other masks."""
        torch.manual_seed(batch.seed + self.world.rank)
        if self.draw is not None:
            first = self.world.rank * len(batch.arrays.labels)
            self.draw.begin(batch.seed, first)

    def autocast(self) -> AbstractContextManager:
        """Half precision where the spec asks for it; parameters stay as they are."""
        half = HALF.get(self.spec.compute_dtype)
        return torch.autocast(self.device.type, half) if half else nullcontext()


def device_of(spec: TrainingSpec) -> str:
    """cuda, tpu or cpu: where this process computes."""
    if spec.use_cpu:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    # torch-tpu names itself as torch is imported, where it finds a TPU and only there
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or accelerator.type != "tpu":
        return "cpu"
    if spec.fp16:
        raise InputError("--fp16: a TPU computes in bfloat16; give --bf16.")
    return "tpu"


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
    return _TokenLoss.apply(logits, labels, smoothing)


# What made the logits and does not look at them again: a product, a change of type
FORGETS_ITS_RESULT = {"UnsafeViewBackward0", "ToCopyBackward0"}


class _TokenLoss(torch.autograd.Function):
    """Its gradient takes the place of the logits: nothing of their size is made."""

    @staticmethod
    def forward(
        context: Any, logits: torch.Tensor, labels: torch.Tensor, smoothing: float
    ) -> torch.Tensor:
        total = logits.logsumexp(-1, keepdim=True)
        chosen = logits.gather(-1, labels.clamp(min=0).unsqueeze(-1))
        loss = total - (1 - smoothing) * chosen
        if smoothing:
            loss -= smoothing * logits.mean(-1, keepdim=True)
        context.save_for_backward(logits, total, labels)
        context.smoothing = smoothing
        made_by = logits.grad_fn.name() if logits.grad_fn else ""
        context.in_place = made_by in FORGETS_ITS_RESULT
        return loss.squeeze(-1).masked_fill(labels == NO_TARGET, 0.0).sum()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        """softmax - (1 - e) at the label - e / vocabulary, at each target."""
        logits, total, labels = context.saved_tensors
        e = context.smoothing
        gradient = logits.detach() if context.in_place else logits.clone()
        gradient.sub_(total).exp_()
        gradient.scatter_add_(
            -1, labels.clamp(min=0).unsqueeze(-1), torch.full_like(total, e - 1)
        )
        if e:
            gradient -= e / logits.shape[-1]
        weight = gradients[0].expand_as(labels).masked_fill(labels == NO_TARGET, 0.0)
        return gradient.mul_(weight.unsqueeze(-1)), None, None


def array(tensor: torch.Tensor) -> np.ndarray:
    """A copy on the host."""
    return whole(tensor.detach()).to("cpu", copy=True).numpy()


def like(parameter: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return laid_out(torch.from_numpy(np.array(values)), parameter)
