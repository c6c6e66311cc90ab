"""Mutants whose update is another one than the contract's."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Self

from reference_trainers import GlobalBatch, ModelSource, TrainingSpec, Update
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class AveragesMicroBatches(AccelerateBackend):
    """The mean of the means of the micro-batches, as transformers 4 does."""

    caught_by = ("arithmetic.accumulation", "arithmetic.any-cut")

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        first = batch.micro_batches[0]
        equal = replace(batch, micro_batches=(first,) * len(batch.micro_batches))
        return super().train_step(equal, learning_rate)


class CarriesDropout(AccelerateBackend):
    """Dropout continues from wherever the generator is."""

    caught_by = ("arithmetic.dropout-repeats", "resume.bit-exact", "resume.any-step")

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        parts = [
            replace(part, seed=int.from_bytes(os.urandom(3)))
            for part in batch.micro_batches
        ]
        anywhere = replace(batch, micro_batches=tuple(parts))
        return super().train_step(anywhere, learning_rate)


class ClipsNothing(AccelerateBackend):
    """Accepts `max_grad_norm` and ignores it."""

    caught_by = ("arithmetic.clipping", "trace.steps")

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        spec, self.spec = self.spec, replace(self.spec, max_grad_norm=0.0)
        update = super().train_step(batch, learning_rate)
        self.spec = spec
        return update


class IgnoresTheRate(AccelerateBackend):
    """Trains at the peak rate all the time: it reports well and learns otherwise."""

    caught_by = ("handover.any-to-any", "parity.steps")

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        return super().train_step(batch, self.spec.learning_rate)


class NeverSteps(AccelerateBackend):
    """Reports well and learns nothing."""

    caught_by = ("arithmetic.learns",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        return super().train_step(batch, 0.0)


class HidesNaN(AccelerateBackend):
    """Takes a loss that is no number for none."""

    caught_by = ("input.nan",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        update = super().train_step(batch, learning_rate)
        finite = math.isfinite(update.loss) and math.isfinite(update.grad_norm)
        return update if finite else replace(update, loss=0.0, grad_norm=0.0)


class DecaysAll(AccelerateBackend):
    """Weight decay pulls at the scales of layer norms, too."""

    caught_by = ("trace.sampled-weights", "trace.weights")

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        loaded = super().load(spec, source)
        for group in loaded.adamw.param_groups:
            group["weight_decay"] = spec.weight_decay
        return loaded


class UsesItsOwnEpsilon(AccelerateBackend):
    """Accepts `adam_epsilon` and ignores it."""

    caught_by = ("parity.other-flags",)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        return super().load(replace(spec, adam_epsilon=1e-8), source)
