"""A law that no broken trainer fails is no law: each mutant has one planted fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.laws import test_handover, test_resume, test_updates
from conformance.profiles import PROFILES
from conformance.runs import Inputs, Runs, build_inputs
from reference_trainers.data.batches import GlobalBatch
from reference_trainers.protocols import State, Update
from reference_trainers.registry import SharedTrainer

pytest.importorskip(
    "torch", reason="not run: the mutants are of the Accelerate trainer"
)

from reference_trainers.pytorch import run_summarization_no_trainer as no_trainer

Sound = no_trainer.AccelerateBackend


class DropsMoments(Sound):
    """Resumes with new moments, as trainers do that save weights alone."""

    def restore(self, state: State) -> None:
        super().restore(replace(state, exp_avg={}, exp_avg_sq={}, updates=0))


class ForgetsTheUpdates(Sound):
    """Resumes with the moments, but Adam's bias correction starts over."""

    def restore(self, state: State) -> None:
        super().restore(replace(state, updates=0))


class AveragesMicroBatches(Sound):
    """The mean of the means of the micro-batches, as transformers 4 does."""

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        first = batch.micro_batches[0]
        equal = replace(batch, micro_batches=(first,) * len(batch.micro_batches))
        return super().train_step(equal, learning_rate, step)


class CarriesDropout(Sound):
    """Dropout goes on from wherever the generator is."""

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        anything = int.from_bytes(os.urandom(3))
        return super().train_step(batch, learning_rate, anything)


class ClipsNothing(Sound):
    """Accepts `max_grad_norm` and ignores it."""

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        spec, self.spec = self.spec, replace(self.spec, max_grad_norm=0.0)
        update = super().train_step(batch, learning_rate, step)
        self.spec = spec
        return update


class IgnoresTheRate(Sound):
    """Trains at the peak rate all the time: it reports well and learns otherwise."""

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        return super().train_step(batch, self.spec.learning_rate, step)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return build_inputs(tmp_path_factory.mktemp("inputs"))


MakeRuns = Callable[[type], Runs]


@pytest.fixture
def runs(inputs: Inputs, tmp_path: Path) -> MakeRuns:
    def make(backend: type) -> Runs:
        trainer = SharedTrainer(backend.__name__, backend)
        return Runs(trainer, PROFILES["cpu"], inputs, tmp_path)

    return make


def resume_law(run: Runs, sound: Runs) -> None:
    whole = run(**test_resume.flags(run))
    test_resume.test_resumed_run_is_the_uninterrupted_run(run, whole, 3)


def resume_elsewhere_law(run: Runs, sound: Runs) -> None:
    test_handover.test_any_trainer_goes_on_from_any_other(
        run, lambda name: sound, sound.trainer.name, "float32"
    )


def accumulation_law(run: Runs, sound: Runs) -> None:
    cut = {"size": 2, "accumulation": 4}
    test_updates.test_accumulation_is_one_big_batch(run, cut)


def dropout_law(run: Runs, sound: Runs) -> None:
    test_updates.test_dropout_repeats_bit_for_bit(run)


def clipping_law(run: Runs, sound: Runs) -> None:
    test_updates.test_clipping_leaves_the_reported_norm(run)


CAUGHT = [
    (DropsMoments, resume_law),
    (DropsMoments, resume_elsewhere_law),
    (ForgetsTheUpdates, resume_law),
    (ForgetsTheUpdates, resume_elsewhere_law),
    (CarriesDropout, resume_law),
    (AveragesMicroBatches, accumulation_law),
    (CarriesDropout, dropout_law),
    (ClipsNothing, clipping_law),
    (IgnoresTheRate, resume_elsewhere_law),
]


@pytest.mark.parametrize(
    ("mutant", "law"), CAUGHT, ids=lambda part: getattr(part, "__name__", None)
)
def test_a_law_catches_the_mutant(
    runs: MakeRuns, mutant: type, law: Callable[[Runs, Runs], None]
) -> None:
    law(runs(Sound), runs(Sound))  # what is sound passes
    with pytest.raises(AssertionError):
        law(runs(mutant), runs(Sound))
