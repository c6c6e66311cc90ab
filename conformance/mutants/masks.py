"""Mutants of the trainers that compute on several devices in one process."""

from __future__ import annotations

from dataclasses import replace

from reference_trainers import GlobalBatch, Update
from reference_trainers.flax.backend import FlaxBackend


class DrawsByDevices(FlaxBackend):
    """Other devices draw other masks, as torch's own would."""

    caught_by = ("devices.dropout",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        parts = [
            replace(part, seed=part.seed + self.devices - 1)
            for part in batch.micro_batches
        ]
        other = replace(batch, micro_batches=tuple(parts))
        return super().train_step(other, learning_rate)
