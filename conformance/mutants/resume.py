"""Mutants that lose something of a checkpoint when they resume."""

from __future__ import annotations

from dataclasses import replace

from reference_trainers import State
from reference_trainers.pytorch.run_summarization_no_trainer import AccelerateBackend


class DropsMoments(AccelerateBackend):
    """Resumes with new moments, as trainers do that save weights alone."""

    caught_by = ("resume.bit-exact", "handover.any-to-any")

    def restore(self, state: State) -> None:
        super().restore(replace(state, exp_avg={}, exp_avg_sq={}, updates=0))


class ForgetsTheUpdates(AccelerateBackend):
    """Resumes with the moments, but Adam's bias correction starts over."""

    caught_by = ("resume.bit-exact", "handover.any-to-any")

    def restore(self, state: State) -> None:
        super().restore(replace(state, updates=0))
