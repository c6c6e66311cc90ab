"""The framework-neutral checkpoint: written whole or not at all, verified, then read.

The same bytes whichever framework wrote them. No pickle is written or read: what else
lies in the folder is never opened.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from reference_trainers.errors import InputError
from reference_trainers.manifest import (
    CHECKPOINT_NAME,
    MANIFEST,
    MODEL,
    OPTIMIZER,
    TRAINER_STATE,
    CheckpointError,
    FileRecord,
    Manifest,
    json_of,
    record_of,
    verify,
)
from reference_trainers.trainer import State

EXP_AVG, EXP_AVG_SQ = "exp_avg.", "exp_avg_sq."


class CheckpointWriteFailed(OSError):
    """The system refused a write (a full disk, say); older checkpoints still stand."""


def write(
    folder: Path,
    state: State,
    trainer_state: Mapping[str, Any],
    run_identity: Mapping[str, Any],
    write_model_files: Callable[[Path], object],
    loss_scale: Mapping[str, float] | None = None,
) -> Manifest:
    """Writes `folder`, named checkpoint-N: whole, flushed to the disk, or not at all.

    `write_model_files` adds configuration and tokenizer files to the folder it is
    given. A checkpoint that stands at `folder` is replaced; if the process dies
    between the two renames, `clean_leftovers` puts it back.

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
            loss_scale=loss_scale,
        )
        (temporary / MANIFEST).write_text(manifest.as_json(), encoding="utf-8")
        _flush_tree(temporary)
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


def read(folder: Path) -> tuple[State, dict[str, Any], Manifest]:
    """What `write` was given: the state, trainer_state.json and the manifest.

    Raises CheckpointError, as `verify` does; nothing is loaded before that passes.
    """
    manifest = verify(folder)
    try:
        moments = load_file(folder / OPTIMIZER)
        state = State(
            parameters=load_file(folder / MODEL),
            exp_avg=dict(_under(EXP_AVG, moments)),
            exp_avg_sq=dict(_under(EXP_AVG_SQ, moments)),
            updates=manifest.updates,
        )
        trainer_state = json.loads((folder / TRAINER_STATE).read_bytes())
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(folder, f"cannot be read ({error})") from error
    return state, trainer_state, manifest


def check_fits(state: State, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError unless `state` has these parameters, of these shapes.

    Moments must fit too, where there are any.
    """
    for kind, arrays in (
        ("", state.parameters),
        (EXP_AVG, state.exp_avg),
        (EXP_AVG_SQ, state.exp_avg_sq),
    ):
        if kind and not arrays:
            continue
        for name in sorted({*arrays, *wanted}):
            found = _shape_text(arrays[name].shape if name in arrays else None)
            expected = _shape_text(wanted.get(name))
            if found != expected:
                raise InputError(
                    f"The checkpoint is of another model: {kind}{name} is {found} "
                    f"there and {expected} in this model."
                )


def compare_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises InputError with each field that differs, unless the runs are the same.

    Nested fields are compared, and named, one by one: `model.d_model`.
    """
    before = dict(_flat(json.loads(json_of(saved))))
    after = dict(_flat(json.loads(json_of(now))))
    differences = [
        f"{name} was {before.get(name, 'absent')} and is {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if name not in before or name not in after or before[name] != after[name]
    ]
    if differences:
        raise InputError(
            f"The checkpoint is of another run: {'; '.join(differences)}. "
            "Give what that run was given, or start anew in another --output_dir."
        )


def temporary_sibling(folder: Path, doing: str) -> Path:
    """A hidden name beside `folder`, which `clean_leftovers` knows as its own."""
    return folder.with_name(f".{folder.name}.{doing}-{os.getpid()}")


def delete_tree(path: Path) -> None:
    """Deletes a folder, as far as the system lets it; a link, but not its target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _under(
    prefix: str, tensors: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _records(folder: Path) -> dict[str, FileRecord]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): record_of(path) for path in files}


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _put_in_place(written: Path, folder: Path) -> None:
    replaced = temporary_sibling(folder, "replaced")
    if os.path.lexists(folder):
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


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(tuple(shape))


def _flat(content: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield at + name, value
