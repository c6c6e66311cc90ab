"""Mutants that lose something of a run when they resume it, or of a user's files."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.mutants.planted import T5, planted
from reference_trainers import InputError, State, TrainingSpec
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


@planted("reference_trainers.life.run.read_state", caught_by=("kills.anywhere",))
def forgets_the_moments(sound: Callable[..., State]) -> Callable[..., State]:
    """Resumes with new moments."""

    def read_state(*checkpoint: Any, **parts: Any) -> State:
        found = sound(*checkpoint, **parts)
        return replace(found, exp_avg={}, exp_avg_sq={}, updates=0)

    return read_state


@planted(
    "reference_trainers.life.signals.StopRequest.exit_status",
    caught_by=("kills.signals",),
)
def ends_with_one(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Ends with status 1 on every signal."""
    return lambda request: sound(request) and 1


@planted("reference_trainers.life.run.start_of", caught_by=("resume.overwrite",))
def never_overwrites(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts overwrite_output_dir and resumes all the same."""

    def start_of(spec: TrainingSpec, claim: Any) -> Any:
        return sound(replace(spec, overwrite_output_dir=False), claim)

    return start_of


@planted("reference_trainers.life.run.start_of", caught_by=("resume.overwrite-named",))
def overwrites_first(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Forgets which checkpoint it was told, if it is to overwrite."""

    def start_of(spec: TrainingSpec, claim: Any) -> Any:
        if spec.overwrite_output_dir:
            spec = replace(spec, resume_from_checkpoint=None)
        return sound(spec, claim)

    return start_of


@planted(
    "reference_trainers.checkpoints.resume.require_same_run",
    caught_by=("resume.may-not-change",),
)
def takes_any_run(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Goes on with other rows than those that it began with."""
    return lambda saved, now: None


@planted("reference_trainers.life.run.identity_of", caught_by=("resume.may-change",))
def allows_no_change(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes a run that saves at other times for another one."""
    return lambda spec, *rest: {**sound(spec, *rest), "save_steps": spec.save_steps}


@planted("reference_trainers.checkpoints.write.rotate", caught_by=("resume.limit",))
def keeps_all(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts save_total_limit and ignores it."""
    return lambda *checkpoints: None


@planted("reference_trainers.life.run.restore_best", caught_by=("resume.best",))
def publishes_the_last(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts load_best_model_at_end and ignores it."""
    return lambda backend, group, record, saver: record.next_step


@planted(
    "reference_trainers.life.run.finish_superseding", caught_by=("resume.own-files",)
)
def tidies_up(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Removes all that is named like a checkpoint and is none."""

    def finish_superseding(folder: Path) -> None:
        sound(folder)
        for path in folder.glob("checkpoint-*"):
            if not (path / "manifest.json").exists():
                shutil.rmtree(path)

    return finish_superseding


@planted(
    "reference_trainers.checkpoints.manifest._verify_file",
    caught_by=("damage.passed-over", "damage.named", "damage.none-sound"),
)
def trusts_every_file(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Hashes nothing."""
    return lambda folder, name, record: None


@planted(
    "reference_trainers.life.run.load_backend",
    caught_by=("damage.another-model",),
    of=T5,
)
def says_little_of_the_shape(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Says that a checkpoint does not fit, and not which parameter."""

    def load_backend(*run: Any) -> Any:
        try:
            return sound(*run)
        except InputError:
            raise InputError("The checkpoint is of another model.") from None

    return load_backend


@planted("reference_trainers.life.run.read_state", caught_by=("damage.pickle",))
def opens_pickles(sound: Callable[..., State]) -> Callable[..., State]:
    """Reads an optimizer as torch.load does."""

    def read_state(checkpoint: Any, **parts: Any) -> State:
        planted_file = checkpoint.folder / "optimizer.pt"
        if planted_file.exists():
            pickle.loads(planted_file.read_bytes())
        return sound(checkpoint, **parts)

    return read_state


@planted(
    "reference_trainers.checkpoints.write.Saver.save", caught_by=("damage.full-disk",)
)
def says_nothing_of_a_full_disk(sound: Callable[..., Any]) -> Callable[..., Any]:
    """A save that fails is no warning."""

    def save(saver: Any, *state: Any) -> None:
        sound(saver, *state)
        saver.warnings.clear()

    return save
