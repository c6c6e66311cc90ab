"""The checkpoints of one run: where it goes on from, and what it writes on its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference_trainers import checkpoint
from reference_trainers.errors import InputError
from reference_trainers.kept_checkpoints import (
    checkpoints,
    find_newest_sound,
    remove,
    resolve,
    rotate,
)
from reference_trainers.manifest import MANIFEST, Manifest
from reference_trainers.model import ModelSource
from reference_trainers.output import remove_results
from reference_trainers.progress import say
from reference_trainers.record import Record
from reference_trainers.schedule import Plan
from reference_trainers.spec import TrainingSpec
from reference_trainers.trainer import Backend, State


@dataclass(frozen=True)
class ResumePoint:
    """A sound checkpoint, read."""

    folder: Path
    state: State
    trainer_state: Mapping[str, Any]
    manifest: Manifest

    @property
    def step(self) -> int:
        return self.manifest.step


def resume_point(
    spec: TrainingSpec, folder: Path, occupied: bool
) -> tuple[ResumePoint | None, list[str]]:
    """Where a run goes on from, and warnings; None: it starts anew.

    `occupied`: the output folder `folder` was not empty. Raises `InputError` where it
    then holds no sound checkpoint, unless the run is to start anew.
    """
    if spec.resume_from_checkpoint is not None:
        found, warnings = resolve(spec.resume_from_checkpoint, folder)
    elif spec.overwrite_output_dir or not occupied:
        return None, []
    else:
        newest, warnings = find_newest_sound(folder)
        if newest is None:
            sound = " other" if warnings else ""
            why = " ".join([*warnings, f"{folder} holds no{sound} checkpoint"])
            raise InputError(
                f"{why} and is not empty. Name another --output_dir, "
                "or pass --overwrite_output_dir."
            )
        found = newest
    for warning in warnings:
        say(warning)
    state, trainer_state, manifest = checkpoint.read(found)
    return ResumePoint(found, state, trainer_state, manifest), warnings


def identity_of(plan: Plan, data_digest: str, model: ModelSource) -> dict[str, Any]:
    """What may not change when a run goes on; all else may."""
    return {
        "data_digest": data_digest,
        "global_batch": plan.global_batch,
        "model_type": model.config.model_type,
        "seed": plan.seed,
    }


class Saver:
    """Writes checkpoints; a write that fails warns and changes nothing."""

    def __init__(
        self,
        spec: TrainingSpec,
        folder: Path,
        identity: Mapping[str, Any],
        model: ModelSource,
        resumed: ResumePoint | None,
    ):
        self.spec = spec
        self.folder = folder
        self.identity = identity
        self.model = model
        self.warnings: list[str] = []
        self.newest = resumed.folder if resumed else None
        self._resumed = resumed

    def save(self, backend: Backend, record: Record) -> None:
        """Writes the checkpoint of the step that `record` has reached."""
        target = self.folder / f"checkpoint-{record.next_step}"
        try:
            checkpoint.write(
                target,
                backend.state(),
                record.trainer_state(),
                self.identity,
                self.model.save_settings,
            )
            self.newest = target
            self.replace_older_run()
            rotate(self.folder, self.spec.save_total_limit, record.best_checkpoint)
        except OSError as error:
            self.warnings.append(str(error))
            say(f"{error} Training goes on; older checkpoints still stand.")

    def replace_older_run(self, keep: Iterable[str] = ()) -> None:
        """Once something new stands in its place, what an earlier run left goes.

        That is everything when the run starts anew, and else the checkpoints of steps
        that this run goes through again. `keep` names files that are already new.
        """
        if self._replaced:
            return
        kept = {path.name for path in (self.newest, self._named()) if path}
        start = self._resumed.step if self._resumed else -1
        for step, path in checkpoints(self.folder):
            ours = (path / MANIFEST).is_file()
            newer = step > start or self.spec.overwrite_output_dir
            if ours and newer and path.name not in kept:
                remove(path)
        if self.spec.overwrite_output_dir:
            remove_results(self.folder, set(keep))
        self._replaced = True

    _replaced = False

    def _named(self) -> Path | None:
        """The checkpoint that the run went on from, if it lies in this folder."""
        if self._resumed and self._resumed.folder.parent.samefile(self.folder):
            return self._resumed.folder
        return None
