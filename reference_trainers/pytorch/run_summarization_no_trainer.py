"""Fine-tunes with PyTorch and Accelerate, with the whole loop in view (`loop.fit`).

    accelerate launch run_summarization_no_trainer.py \\
        --model_name_or_path google-t5/t5-small --dataset_name cnn_dailymail \\
        --dataset_config "3.0.0" --source_prefix "summarize: " --output_dir out

On real papers, from a clone, with a tiny model and no network:

    python -m fixtures aclsum in && python -m fixtures tiny in/model --dropout 0
    python reference_trainers/pytorch/run_summarization_no_trainer.py \\
        --model_name_or_path in/model --train_file in/train.csv --output_dir out \\
        --validation_file in/validation.csv --do_train --do_eval --max_steps 20 \\
        --learning_rate 1e-2 --max_source_length 64 --max_target_length 32

Expect a train_loss of 5.76621 and an eval_loss of 5.37066, as of the other scripts.
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.pytorch import NO_TRAINER as TRAINER

if __name__ == "__main__":  # before the imports below, which take seconds
    raise SystemExit(main(TRAINER))

from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import Accelerator
from torch import nn
from transformers import PreTrainedModel

from reference_trainers.data.batches import GlobalBatch
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.protocols import Update
from reference_trainers.pytorch.arguments import fused
from reference_trainers.pytorch.backend import (
    TorchBackend,
    tensors,
    token_loss,
)
from reference_trainers.pytorch.sharded import shard, summed_later, whole
from reference_trainers.recipe.decay import decays
from reference_trainers.spec import TrainingSpec


class AccelerateBackend(TorchBackend):
    """One update, spelled out."""

    def __init__(self, spec: TrainingSpec, model: PreTrainedModel, device: str):
        super().__init__(spec, model, device)
        # Its own mixed precision belongs to the process; `autocast` to this backend
        # It counts the processes of a TPU as those of a CPU, and of no other
        self.accelerator = Accelerator(cpu=device != "cuda", mixed_precision="no")
        self.replica = self.model
        self.in_parts = bool(spec.fsdp) and self.world.size > 1
        if self.in_parts:
            shard(self.model, device, self.world.size)
        else:
            self.replica = self.accelerator.prepare(self.model)
        self.adamw = self.accelerator.prepare(adamw(spec, self.model))

    @lost_processes_told(RuntimeError)
    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        """Gradients of every micro-batch add up; then one clipped AdamW step."""
        spec = self.spec
        if not self.model.training:  # it visits every module
            self.model.train()
        self.adamw.zero_grad()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for micro_batch in batch.micro_batches:
            inputs = tensors(micro_batch.arrays, self.device)
            labels = inputs.pop("labels")
            self.seed_dropout(micro_batch)
            with self.summed(micro_batch is batch.micro_batches[-1]):
                with self.autocast():
                    logits = self.replica(**inputs, use_cache=False).logits
                loss = token_loss(logits, labels, spec.label_smoothing_factor)
                loss = loss / batch.target_tokens
                # Processes average their gradients: what is wanted is the sum
                self.accelerator.backward(loss * (self.scale * self.world.size))
            total += loss.detach()
        total = self.accelerator.reduce(total)
        norm = clip(self.model, spec.max_grad_norm, self.scale)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate
        applied = self.applies(norm)
        if applied:
            self.adamw.step()
        return Update(total, norm, applied)

    def summed(self, is_last: bool) -> AbstractContextManager[None]:
        """Processes add their gradients after the last micro-batch."""
        if self.in_parts:
            return summed_later(self.model, is_last)
        return nullcontext() if is_last else self.accelerator.no_sync(self.replica)

    def optimizer(self) -> torch.optim.Optimizer | None:
        return self.adamw.optimizer


def adamw(spec: TrainingSpec, model: nn.Module) -> torch.optim.Optimizer:
    """torch's AdamW; biases and norms do not decay."""
    groups: dict[float, list[nn.Parameter]] = {spec.weight_decay: [], 0.0: []}
    for name, parameter in model.named_parameters():
        groups[spec.weight_decay if decays(name) else 0.0].append(parameter)
    return torch.optim.AdamW(
        [{"params": group, "weight_decay": decay} for decay, group in groups.items()],
        lr=spec.learning_rate,
        betas=(spec.adam_beta1, spec.adam_beta2),
        eps=spec.adam_epsilon,
        fused=fused(spec),
    )


def clip(model: nn.Module, largest: float, scale: float) -> torch.Tensor:
    """Scales gradients to a global norm of at most `largest`; the norm before.

    `scale` is what the loss was multiplied by.
    """
    for parameter in model.parameters() if scale != 1 else ():
        parameter.grad /= scale
    norm = nn.utils.clip_grad_norm_(model.parameters(), largest or float("inf"))
    return whole(norm)
