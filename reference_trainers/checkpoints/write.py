"""The framework-neutral checkpoint: written whole or not at all, verified, then read.

The same bytes whichever framework wrote them. No pickle is written or read: what else
lies in the folder is never opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from reference_trainers.checkpoints.keep import (
    checkpoints,
    rotate,
)
from reference_trainers.checkpoints.manifest import (
    CHECKPOINT_NAME,
    MANIFEST,
    MODEL,
    OPTIMIZER,
    STEPS,
    TRAINER_STATE,
    Checkpoint,
    FileRecord,
    Manifest,
    record_of,
)
from reference_trainers.files import (
    delete_tree,
    flush,
    flush_tree,
    json_of,
    temporary_sibling,
)
from reference_trainers.folder import finish_superseding, supersede
from reference_trainers.protocols import State
from reference_trainers.report.progress import say
from reference_trainers.report.record import Record
from reference_trainers.spec import TrainingSpec

if TYPE_CHECKING:
    from reference_trainers.models.source import ModelSource

EXP_AVG, EXP_AVG_SQ = "exp_avg.", "exp_avg_sq."


class CheckpointWriteFailed(OSError):
    """The system refused a write (a full disk, say); older checkpoints still stand."""


def write_checkpoint(
    folder: Path,
    state: State,
    trainer_state: Mapping[str, Any],
    run_identity: Mapping[str, Any],
    write_model_files: Callable[[Path], object],
    before_it_stands: Callable[[Path], object] = lambda written: None,
) -> Manifest:
    """Writes `folder`, named checkpoint-N: whole, flushed to the disk, or not at all.

    `write_model_files` adds configuration and tokenizer files to the folder it is
    given; `before_it_stands` sees the folder as written, before it has its name. A
    checkpoint that stands at `folder` is replaced; if the process dies between the
    two renames, `folder.sweep` puts it back.

    Raises CheckpointWriteFailed where the system refuses; nothing is left behind then.
    """
    step = _step_in_name(folder)
    temporary = temporary_sibling(folder, "writing")
    try:
        delete_tree(temporary)  # of a killed run that had the same process id
        temporary.mkdir(parents=True)
        write_model_files(temporary)
        write_model(temporary, state)
        _write_tensors(temporary / OPTIMIZER, dict(_moments(state)))
        (temporary / TRAINER_STATE).write_text(json_of(trainer_state), encoding="utf-8")
        manifest = Manifest(
            step=step,
            updates=state.updates,
            identity=run_identity,
            files=_records(temporary),
            loss_scale=state.loss_scale,
        )
        (temporary / MANIFEST).write_text(manifest.as_json(), encoding="utf-8")
        flush_tree(temporary)
        before_it_stands(temporary)
        _put_in_place(temporary, folder)
    except Exception as error:
        if not _came_from_the_system(error):
            raise
        reason = f"{folder} could not be written: {error}."
        raise CheckpointWriteFailed(reason) from error
    finally:
        delete_tree(temporary)  # gone already, unless something failed
    return manifest


def write_model(folder: Path, state: State) -> None:
    """The weights as `from_pretrained` of any framework wants them."""
    _write_tensors(folder / MODEL, state.parameters, {"format": "pt"})


def _step_in_name(folder: Path) -> int:
    name = CHECKPOINT_NAME.fullmatch(folder.name)
    if name is None:
        raise ValueError(f"{folder.name}: a checkpoint is named checkpoint-N")
    return int(name[1])


def _write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: dict[str, str] | None = None,
) -> None:
    # safetensors writes the memory as it lies, so a transposed view would be garbled
    ordered = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    save_file(ordered, path, metadata=metadata)
    # ... and lets nobody but the owner read it, whatever the umask allows
    path.chmod(path.parent.stat().st_mode & 0o666)


def _moments(state: State) -> Iterator[tuple[str, np.ndarray]]:
    for prefix, moments in ((EXP_AVG, state.exp_avg), (EXP_AVG_SQ, state.exp_avg_sq)):
        for name, value in moments.items():
            yield prefix + name, value


def _records(folder: Path) -> dict[str, FileRecord]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): record_of(path) for path in files}


def _put_in_place(written: Path, folder: Path) -> None:
    replaced = temporary_sibling(folder, "replaced")
    if os.path.lexists(folder):
        if not (folder / MANIFEST).is_file():
            raise OSError(f"{folder.name} there is not one of ours")
        delete_tree(replaced)
        folder.rename(replaced)
    try:
        written.rename(folder)
    except OSError:
        if replaced.exists():
            replaced.rename(folder)
        raise
    flush(folder.parent)
    delete_tree(replaced)


def _came_from_the_system(error: Exception) -> bool:
    # safetensors and tokenizers report it as errors of their own, from Rust
    return isinstance(error, OSError) or "(os error " in str(error)


class Saver:
    """Writes the checkpoints of one run; a write that fails warns, no more.

    Once something new stands in its place, what an earlier run left goes: everything
    where the run starts anew, else the checkpoints of steps that it goes through again.
    What an earlier run left is what its report and its manifests say, and no more.
    """

    def __init__(
        self,
        spec: TrainingSpec,
        folder: Path,
        identity: Mapping[str, Any],
        source: ModelSource,
        resumed: Checkpoint | None,
    ):
        self.spec = spec
        self.folder = folder
        self.identity = identity
        self.source = source
        self.newest = resumed.folder if resumed else None
        self.newest_step = resumed.step if resumed else 0
        self.warnings: list[str] = []
        self._resumed = resumed
        self._replaced = False

    def save(
        self,
        take: Callable[[], State],
        record: Record,
        in_use: tuple[Path, ...] = (),
    ) -> None:
        """Writes the checkpoint of the step that `record` has reached, with the state
        that `take` gives; those `in_use` must not go yet."""
        target = self.folder / f"checkpoint-{record.next_step}"
        best = record.best_checkpoint

        def write_other_files(folder: Path) -> None:
            self.source.save_settings(folder)
            steps = json.dumps(record.past())
            (folder / STEPS).write_text(steps, encoding="utf-8")

        def before_it_stands(written: Path) -> None:
            manifest = written / MANIFEST
            self.supersede(f"{target.name}/{MANIFEST}", manifest, target, best)

        try:
            write_checkpoint(
                target,
                take(),
                record.trainer_state(),
                self.identity,
                write_other_files,
                before_it_stands=before_it_stands,
            )
            self.newest, self.newest_step = target, record.next_step
            finish_superseding(self.folder)
            self._replaced = True
            kept = [path for path in (target, best, *in_use) if path]
            rotate(self.folder, self.spec.save_total_limit, kept)
        except OSError as error:
            self.warnings.append(str(error))
            say(f"{error} Training continues; older checkpoints still stand.")
            if self.newest_step != record.next_step:
                record.take_back_best()

    def supersede(self, by: str, written: Path, *kept: Path | None) -> None:
        """Notes, once, what of an earlier run goes when `written` stands as `by`.

        `kept` are checkpoints of this run, as is the one that it was resumed from.
        """
        if self._replaced:
            return
        ours = {path.resolve() for path in kept if path}
        anew, start = self.spec.overwrite_output_dir, -1
        if self._resumed is not None:
            ours.add(self._resumed.folder.resolve())
            start = self._resumed.step
        doomed = [
            path.name
            for step, path in checkpoints(self.folder)
            if (path / MANIFEST).is_file() and path.resolve() not in ours
            if step > start or anew
        ]
        results = anew and written.name == MANIFEST  # publishing replaces them itself
        if doomed or results:
            supersede(self.folder, by, written, doomed, results)
