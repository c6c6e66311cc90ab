"""How a run starts: anew, or from which checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from reference_trainers.checkpoints.keep import (
    find_newest_sound,
    resolve,
)
from reference_trainers.checkpoints.manifest import (
    MODEL,
    OPTIMIZER,
    TRAINER_STATE,
    CheckpointError,
    Manifest,
    verify,
)
from reference_trainers.checkpoints.write import EXP_AVG, EXP_AVG_SQ
from reference_trainers.errors import InputError
from reference_trainers.files import json_of
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import State
from reference_trainers.recipe.plan import Plan
from reference_trainers.report.progress import say
from reference_trainers.spec import TrainingSpec


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
    state, trainer_state, manifest = read(found)
    return ResumePoint(found, state, trainer_state, manifest), warnings


def identity_of(plan: Plan, data_digest: str, model: ModelSource) -> dict[str, Any]:
    """What may not change when a run goes on; all else may."""
    return {
        "data_digest": data_digest,
        "global_batch": plan.global_batch,
        "model_type": model.config.model_type,
        "seed": plan.seed,
    }


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


def _under(
    prefix: str, tensors: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), value


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(tuple(shape))


def _flat(content: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield at + name, value
