"""What is read of a checkpoint, and of a model that was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from reference_trainers.checkpoints.manifest import (
    MODEL,
    OPTIMIZER,
    STEPS,
    TRAINER_STATE,
    Checkpoint,
    CheckpointError,
    Manifest,
    verify_checkpoint,
)
from reference_trainers.checkpoints.past import NOT_SO, past_of, trainer_state_of
from reference_trainers.checkpoints.write import EXP_AVG, EXP_AVG_SQ
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.protocols import State


def require_shapes(folder: Path, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError unless a checkpoint has these parameters, of these shapes.

    Moments must fit too, where there are any. Reads the headers of the files alone.
    """
    moments = _shapes_in(folder / OPTIMIZER)
    for prefix, shapes in (
        ("", _shapes_in(folder / MODEL)),
        (EXP_AVG, dict(_under(EXP_AVG, moments))),
        (EXP_AVG_SQ, dict(_under(EXP_AVG_SQ, moments))),
    ):
        if prefix and not shapes:
            continue
        for name in sorted({*shapes, *wanted}):
            found, expected = _shape_text(shapes, name), _shape_text(wanted, name)
            if found != expected:
                raise InputError(
                    f"{folder} is of another model: {prefix}{name} is {found} "
                    f"there and {expected} in this model."
                )


def read_checkpoint(folder: Path) -> tuple[State, dict[str, Any], Manifest]:
    """What `write_checkpoint` was given: state, trainer_state.json and manifest.

    Raises CheckpointError, as `verify_checkpoint` does, before anything is loaded.
    """
    checkpoint = verify_checkpoint(folder)
    state = read_state(checkpoint, parameters=True)
    return state, read_trainer_state(checkpoint), checkpoint.manifest


def read_state(checkpoint: Checkpoint, parameters: bool) -> State:
    """The moments of a verified checkpoint, and its parameters if asked for."""
    folder = checkpoint.folder
    try:
        moments = load_file(folder / OPTIMIZER)
        return State(
            parameters=load_file(folder / MODEL) if parameters else {},
            exp_avg=dict(_under(EXP_AVG, moments)),
            exp_avg_sq=dict(_under(EXP_AVG_SQ, moments)),
            updates=checkpoint.manifest.updates,
            loss_scale=checkpoint.manifest.loss_scale,
        )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(folder, f"cannot be read ({error})") from error


def read_trainer_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a run that resumes takes of trainer_state.json."""
    with _damage_told(checkpoint, TRAINER_STATE):
        return trainer_state_of((checkpoint.folder / TRAINER_STATE).read_text("utf-8"))


def read_published(folder: Path) -> State:
    """The weights of the model in an output folder."""
    try:
        return State(parameters=load_file(folder / MODEL))
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"--output_dir {folder}: {MODEL} there cannot be read ({error}). Move it "
            "away, or name another folder."
        ) from error


def read_past(checkpoint: Checkpoint) -> dict[str, Any]:
    """`Record.past` of the run that wrote it; empty where another writer did."""
    if STEPS not in checkpoint.manifest.files:
        return {}
    with _damage_told(checkpoint, STEPS):
        return past_of((checkpoint.folder / STEPS).read_text("utf-8"))


@contextmanager
def _damage_told(checkpoint: Checkpoint, name: str) -> Iterator[None]:
    """What another writer may have said in a file becomes a CheckpointError."""
    try:
        yield
    except (OSError, *NOT_SO) as error:
        what = f"{name} is not as a trainer writes it: {sentence_of(error)[:-1]}"
        raise CheckpointError(checkpoint.folder, what) from error


def _shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, "numpy") as file:
            names = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(path.parent, f"cannot be read ({error})") from error


def _under(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _shape_text(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "absent"
