"""Mutants that several devices lead astray."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import (
    Batch,
    GlobalBatch,
    ModelSource,
    ProcessLost,
    RunReport,
    SharedTrainer,
    State,
    TrainingSpec,
    Update,
)
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class AveragesProcesses(AccelerateBackend):
    """The mean of the means of the processes, as DistributedDataParallel has it."""

    caught_by = ("devices.steps",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        own = sum(part.target_tokens for part in batch.micro_batches)
        equal = replace(batch, target_tokens=max(1, own) * self.world.size)
        return super().train_step(equal, learning_rate)


class AddsAsTheyCome(NumpyBackend):
    """Its sums differ in the last bits from one start to the next."""

    caught_by = ("devices.repeat",)
    noise = 1 + 1e-12 * int.from_bytes(os.urandom(4))

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        return super().train_step(batch, learning_rate * self.noise)


class MeanOfParts(AccelerateBackend):
    """Forgets that `fully_shard` gives each process the mean, not the sum."""

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        if self.in_parts:
            tokens = batch.target_tokens * self.world.size
            batch = replace(batch, target_tokens=tokens)
        return super().train_step(batch, learning_rate)


class AveragesParts:
    """The same as a trainer: one made of a backend refuses --fsdp by itself."""

    caught_by = ("devices.sharded",)
    name = "averages-parts"
    refuses: Mapping[str, str] = MappingProxyType({})

    @staticmethod
    def run(spec: TrainingSpec) -> RunReport:
        return SharedTrainer("averages-parts", MeanOfParts, refuses={}).run(spec)


class FillsUpShares(NumpyBackend):
    """Judges a row twice where another process has more, as DistributedSampler does."""

    caught_by = ("devices.evaluation",)

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        loss, tokens = super().evaluate(batch)
        if self.world.first:
            return loss, tokens
        row = type(batch.arrays)(*(array[:1] for array in batch.arrays))
        more, again = super().evaluate(replace(batch, arrays=row, rows=1))
        return loss + more, tokens + again


class WritesFromEach(NumpyBackend):
    """Each process keeps a log in the output folder."""

    caught_by = ("devices.files",)

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        loaded = super().load(spec, source)
        Path(f"{spec.output_dir}/log-{loaded.world.rank}.txt").touch()
        return loaded


class CountsForEach(NumpyBackend):
    """Every process counts an update of them all: a checkpoint says twice as many."""

    caught_by = ("devices.resume", "devices.counts")

    def state(self) -> State:
        state = super().state()
        return replace(state, updates=state.updates * self.world.size)


class CountsForEachInTorch(AccelerateBackend):
    """The same in a T5, which the oracle can go on with."""

    caught_by = ("devices.handover",)

    def state(self) -> State:
        state = super().state()
        return replace(state, updates=state.updates * self.world.size)


class EndsWell(NumpyBackend):
    """Takes the death of another process for the end of the run."""

    caught_by = ("devices.kills",)

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        try:
            return super().train_step(batch, learning_rate)
        except ProcessLost:
            os._exit(0)

    @classmethod
    def reduce(cls, values: np.ndarray) -> np.ndarray:
        try:
            return super().reduce(values)
        except ProcessLost:
            os._exit(0)
