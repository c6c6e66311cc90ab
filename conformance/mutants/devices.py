"""Mutants that several devices lead astray."""

from __future__ import annotations

from dataclasses import replace

from reference_trainers import GlobalBatch, Update
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class AveragesProcesses(AccelerateBackend):
    """The mean of the means of the processes, as DistributedDataParallel has it."""

    caught_by = ("devices.steps",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        own = sum(part.target_tokens for part in batch.micro_batches)
        equal = replace(batch, target_tokens=max(1, own) * self.world.size)
        return super().train_step(equal, learning_rate)
