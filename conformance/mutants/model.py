"""Mutants whose model computes, or searches, otherwise."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Self

import numpy as np

from reference_trainers import Batch, GenerationSettings, ModelSource, TrainingSpec
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class TrainsWithoutDropout(AccelerateBackend):
    """Loads a model as for evaluation."""

    caught_by = ("parity.dropout", "arithmetic.dropout-repeats")

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        config = copy.deepcopy(source.config)
        config.dropout_rate = 0.0
        return super().load(spec, replace(source, config=config))


class DrawsAsTheFirstProcess(AccelerateBackend):
    """The rows of every process have the masks of the first one's."""

    caught_by = ("devices.dropout",)

    def seed_dropout(self, batch: Batch) -> None:
        super().seed_dropout(batch)
        assert self.draw is not None
        self.draw.begin(batch.seed, first_row=0)


class SearchesGreedily(AccelerateBackend):
    """Accepts `num_beams` and ignores it."""

    caught_by = ("parity.evaluation", "trace.predictions")

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        return super().generate(batch, replace(settings, num_beams=1))
