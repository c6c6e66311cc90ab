"""Mutants that get half precision wrong."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import SupportsFloat

from reference_trainers import GlobalBatch, LossScale, State, Update
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class ComputesInFloat32(AccelerateBackend):
    """Takes the flag and computes as ever, as accelerate does with fp16 on a CPU."""

    caught_by = ("precision.real",)

    def autocast(self) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


class StepsOnNothing(AccelerateBackend):
    """Takes a gradient that overflowed for one of zeros, and steps by it."""

    caught_by = ("precision.overflow", "precision.recovery")

    def applies(self, grad_norm: SupportsFloat) -> bool:
        if not super().applies(grad_norm):
            self.adamw.zero_grad(set_to_none=False)
        return True

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        update = super().train_step(batch, learning_rate)
        finite = math.isfinite(update.grad_norm)
        return update if finite else replace(update, grad_norm=0.0)


class ForgetsTheScale(AccelerateBackend):
    """Begins with a new loss scale when it resumes."""

    caught_by = ("precision.growth",)

    def restore(self, state: State) -> None:
        super().restore(replace(state, loss_scale=LossScale()))


class KeepsHalfWeights(AccelerateBackend):
    """Keeps its weights in bfloat16, too: small steps are lost."""

    caught_by = ("precision.close",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        update = super().train_step(batch, learning_rate)
        if self.spec.bf16:
            for parameter in self.model.parameters():
                parameter.data = parameter.data.bfloat16().to(parameter.dtype)
        return update
