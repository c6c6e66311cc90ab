"""How a run starts: anew, or from which checkpoint; and what is read of that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from reference_trainers.checkpoints.keep import find_newest_sound
from reference_trainers.checkpoints.manifest import (
    MANIFEST,
    MODEL,
    OPTIMIZER,
    TRAINER_STATE,
    Checkpoint,
    CheckpointError,
    Manifest,
    verify_checkpoint,
)
from reference_trainers.checkpoints.write import EXP_AVG, EXP_AVG_SQ
from reference_trainers.errors import InputError
from reference_trainers.files import json_of
from reference_trainers.folder import Claim
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import State
from reference_trainers.recipe.plan import Plan
from reference_trainers.spec import TrainingSpec


@dataclass(frozen=True)
class Start:
    """How a run starts: from a checkpoint, or, without one, anew."""

    checkpoint: Checkpoint | None = None
    warnings: tuple[str, ...] = ()
    """One for each newer checkpoint that is damaged."""

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0


def start_of(spec: TrainingSpec, claim: Claim) -> Start:
    """Decides how a run starts. The order is important.

    1. `resume_from_checkpoint`: from the checkpoint that it names; `true`, `latest` or
       a folder of checkpoints stand for the newest sound one there. None: an error.
    2. `overwrite_output_dir`, or an output folder that is empty: anew.
    3. The output folder holds checkpoints: from the newest sound one.
    4. It holds none that is sound, and is not empty: an error.

    Every file of the checkpoint is hashed here, and nowhere else. Raises `InputError`.
    """
    if spec.resume_from_checkpoint is not None:
        return named(spec.resume_from_checkpoint, claim.folder)
    if spec.overwrite_output_dir or not claim.occupied:
        return Start()
    newest, warnings = find_newest_sound(claim.folder)
    if newest is not None:
        return Start(newest, tuple(warnings))
    sound = " other" if warnings else ""
    why = " ".join([*warnings, f"{claim.folder} holds no{sound} checkpoint"])
    raise InputError(
        f"{why} and is not empty. Name another --output_dir, "
        "or pass --overwrite_output_dir."
    )


def named(value: str, output_dir: Path) -> Start:
    """The checkpoint that `--resume_from_checkpoint value` means; see `start_of`."""
    latest = value.lower() in ("true", "latest")
    meant = output_dir if latest else Path(value).expanduser()
    try:
        if (meant / MANIFEST).is_file():
            return Start(verify_checkpoint(meant))
        found, warnings = find_newest_sound(meant)
        if found is not None:
            return Start(found, tuple(warnings))
        if not latest and not warnings:
            verify_checkpoint(meant)  # says what the folder is, or that there is none
    except CheckpointError as error:
        raise InputError(f"--resume_from_checkpoint {value}: {error}") from error
    damaged = " ".join(["", *warnings])
    raise InputError(
        f"--resume_from_checkpoint {value}: {meant} holds no sound checkpoint.{damaged}"
    )


def identity_of(plan: Plan, data_digest: str, source: ModelSource) -> dict[str, Any]:
    """What may not change at a resume; all else may."""
    return {
        "data_digest": data_digest,
        "global_batch": plan.global_batch,
        "model_type": source.config.model_type,
        "seed": plan.seed,
    }


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
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
        )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(folder, f"cannot be read ({error})") from error


def read_trainer_state(checkpoint: Checkpoint) -> dict[str, Any]:
    try:
        return json.loads((checkpoint.folder / TRAINER_STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(checkpoint.folder, f"cannot be read ({error})") from error


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


def _flat(content: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield at + name, value
