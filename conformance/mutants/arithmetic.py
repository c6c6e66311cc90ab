"""Mutants whose update is another one than the contract's."""

from __future__ import annotations

import os
from dataclasses import replace

from reference_trainers import GlobalBatch, Update
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class AveragesMicroBatches(AccelerateBackend):
    """The mean of the means of the micro-batches, as transformers 4 does."""

    caught_by = ("arithmetic.accumulation",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        first = batch.micro_batches[0]
        equal = replace(batch, micro_batches=(first,) * len(batch.micro_batches))
        return super().train_step(equal, learning_rate)


class CarriesDropout(AccelerateBackend):
    """Dropout continues from wherever the generator is."""

    caught_by = ("arithmetic.dropout-repeats", "resume.bit-exact")

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        parts = [
            replace(part, seed=int.from_bytes(os.urandom(3)))
            for part in batch.micro_batches
        ]
        anywhere = replace(batch, micro_batches=tuple(parts))
        return super().train_step(anywhere, learning_rate)


class ClipsNothing(AccelerateBackend):
    """Accepts `max_grad_norm` and ignores it."""

    caught_by = ("arithmetic.clipping",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        spec, self.spec = self.spec, replace(self.spec, max_grad_norm=0.0)
        update = super().train_step(batch, learning_rate)
        self.spec = spec
        return update


class IgnoresTheRate(AccelerateBackend):
    """Trains at the peak rate all the time: it reports well and learns otherwise."""

    caught_by = ("handover.any-to-any",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        return super().train_step(batch, self.spec.learning_rate)
