"""How a run starts: anew, from which checkpoint, or with nothing left to train."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reference_trainers.checkpoints.keep import (
    checkpoints,
    find_newest_sound,
    sound,
    users_files,
)
from reference_trainers.checkpoints.manifest import (
    MANIFEST,
    MODEL,
    Checkpoint,
    CheckpointError,
    verify_checkpoint,
)
from reference_trainers.checkpoints.read import require_shapes
from reference_trainers.errors import InputError
from reference_trainers.files import at_home, json_of, refusals_told
from reference_trainers.folder import Claim, require_free
from reference_trainers.models.source import ModelSource
from reference_trainers.protocols import Backend
from reference_trainers.recipe.plan import Plan
from reference_trainers.report.write import result_names
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec

# Flags that are, with the rows and the seed, what makes a run that run
LOSS_AND_OPTIMIZER = (
    *("dtype", "bf16", "fp16", "label_smoothing_factor", "ignore_pad_token_for_loss"),
    *("adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay", "max_grad_norm"),
)


BackendClass = Callable[[], type[Backend]]
"""Gives a backend's class; called late, because it imports the framework."""


@dataclass(frozen=True)
class Start:
    """How a run starts: from a checkpoint, from what was published, or anew."""

    checkpoint: Checkpoint | None = None
    published: RunReport | None = None
    """Of an earlier run in the output folder, to which this one belongs or adds."""
    warnings: tuple[str, ...] = ()
    """One for each newer checkpoint that is damaged."""

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0


def start_of(spec: TrainingSpec, claim: Claim) -> Start:
    """Decides how a run starts. The order is important.

    1. `resume_from_checkpoint`: from the checkpoint that it names; `true`, `latest` or
       a folder of checkpoints stand for the newest sound one there. None: an error;
       another run in the output folder, or newer checkpoints of the same: an error.
    2. `overwrite_output_dir`, or an output folder that is empty: anew.
    3. Nothing is to be trained, and the output folder holds results of this model:
       they are added to. Those of another, or an unfinished training: an error.
    4. The output folder holds checkpoints: from the newest sound one.
    5. It holds none, but a finished training: there may be nothing left to train.
    6. It holds neither, and is not empty: an error.

    Every file of the checkpoint is hashed here, and nowhere else. Raises `InputError`.
    """
    if spec.resume_from_checkpoint is not None:
        start = named(spec.resume_from_checkpoint, claim.folder)
        if start.checkpoint is not None and not spec.overwrite_output_dir:
            require_own_folder(spec, start.checkpoint, claim)
        published = None if spec.overwrite_output_dir else claim.report
        return replace(start, published=published)
    if spec.overwrite_output_dir or not claim.occupied:
        return Start()
    if not spec.do_train and (claim.report or checkpoints(claim.folder)):
        return Start(published=published_of(spec, claim))
    newest, warnings = find_newest_sound(claim.folder)
    if newest is not None:
        return Start(newest, claim.report, tuple(warnings))
    if not warnings and claim.report and claim.report.model_step is not None:
        return Start(published=claim.report)
    sound = " other" if warnings else ""
    why = " ".join([*warnings, f"{claim.folder} holds no{sound} checkpoint"])
    raise InputError(
        f"{why} and is not empty. Name another --output_dir, "
        "or pass --overwrite_output_dir."
    )


def published_of(spec: TrainingSpec, claim: Claim) -> RunReport:
    """The earlier results that an evaluation is added to. Raises `InputError`."""
    report, folder = claim.report, claim.folder
    if report is None:
        raise InputError(
            f"--output_dir {folder}: a training there has not finished. Finish it with "
            "--do_train; or name another --output_dir, and what to evaluate by "
            "--resume_from_checkpoint."
        )
    judged, asked = report.spec["model_name_or_path"], spec.model_name_or_path
    if asked != judged and at_home(asked or "").resolve() != folder.resolve():
        raise InputError(
            f"--output_dir {folder}: holds results that began with {judged}, and "
            f"--model_name_or_path is {asked}. Name another --output_dir."
        )
    return report


def require_own_folder(spec: TrainingSpec, named: Checkpoint, claim: Claim) -> None:
    """Raises `InputError` where resuming would cost what stands in the folder."""
    way_out = "Name another --output_dir, or pass --overwrite_output_dir"
    where = f"--resume_from_checkpoint {named.folder}: {claim.folder}"
    if not spec.do_train and claim.report:
        raise InputError(f"{where} holds the results of a run already. {way_out}.")
    here = named.folder.parent.resolve() == claim.folder.resolve()
    if here:
        newer = [p for step, p in checkpoints(claim.folder) if step > named.step]
        found = next(filter(None, map(sound, reversed(newer))), None)
    else:
        found, _ = find_newest_sound(claim.folder)
    earlier = claim.report.identity if claim.report else {}
    identity = found.manifest.identity if found else earlier
    # Runs of other rates are alike by identity; an older checkpoint tells them apart
    mixed = (
        found is not None
        and not here
        and found.step <= named.step
        and found.manifest != named.manifest
    )
    if mixed or (identity and differences(identity, named.manifest.identity)):
        raise InputError(f"{where} holds another run. {way_out}.")
    if spec.do_train and found is not None and found.step > named.step:
        raise InputError(
            f"{where} holds {found.folder.name}, which is newer and would be lost. "
            f"Leave the flag out to resume from it. {way_out}, to go back."
        )


def named(value: str, output_dir: Path) -> Start:
    """The checkpoint that `--resume_from_checkpoint value` means; see `start_of`."""
    latest = value.lower() in ("true", "latest")
    meant = output_dir if latest else at_home(value)
    try:
        with refusals_told(f"--resume_from_checkpoint {value}"):
            if (meant / MANIFEST).is_file():
                return Start(verify_checkpoint(meant))
            found, warnings = find_newest_sound(meant)
        if found is not None:
            return Start(found, warnings=tuple(warnings))
        if not latest and not warnings:
            verify_checkpoint(meant)  # says what the folder is, or that there is none
    except CheckpointError as error:
        raise InputError(f"--resume_from_checkpoint {value}: {error}") from error
    damaged = " ".join(["", *warnings])
    raise InputError(
        f"--resume_from_checkpoint {value}: {meant} holds no sound checkpoint.{damaged}"
    )


def identity_of(
    spec: TrainingSpec, plan: Plan, data_digest: str, source: ModelSource
) -> dict[str, Any]:
    """What may not change at a resume; all else may."""
    return {
        "data_digest": data_digest,
        "global_batch": plan.global_batch,
        "model_type": source.config.model_type,
        "seed": plan.seed,
        **{name: getattr(spec, name) for name in LOSS_AND_OPTIMIZER},
    }


def is_finished(
    published: RunReport | None, identity: Mapping[str, Any], plan: Plan
) -> bool:
    """Whether what was published is the end of this run, told by its step."""
    return (
        published is not None
        and published.model_step is not None
        and published.total_steps >= plan.total_steps
        and not differences(published.identity, identity)
    )


def require_resumable(
    start: Start, identity: Mapping[str, Any], plan: Plan, folder: Path
) -> None:
    """Raises `InputError` where this run can't go on from what there is."""
    report, checkpoint = start.published, start.checkpoint
    if checkpoint is not None:
        require_same_run(checkpoint.manifest.identity, identity)
        if checkpoint.step > plan.total_steps:
            raise InputError(
                f"{checkpoint.folder} is beyond the {plan.total_steps} steps of this "
                "run. Ask for more, or name another --output_dir."
            )
    elif report is not None and report.model_step is not None:
        require_same_run(report.identity, identity)
        raise InputError(
            f"--output_dir {folder}: {report.total_steps} steps are finished, "
            "and no checkpoint is left to go on from. Name another --output_dir."
        )


def require_same_run(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises InputError with each field that differs, unless the runs are the same.

    Nested fields are compared, and named, one by one: `model.d_model`.
    """
    if found := differences(saved, now):
        raise InputError(
            f"The checkpoint is of another run: {'; '.join(found)}. "
            "Give what that run was given, or begin a new run from these weights: "
            "--model_name_or_path CHECKPOINT, with another --output_dir."
        )


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each field in which two identities differ, with both values."""
    before = dict(_flat(json.loads(json_of(saved))))
    after = dict(_flat(json.loads(json_of(now))))
    return [
        f"{name} was {before.get(name, 'absent')} and is {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if name not in before or name not in after or before[name] != after[name]
    ]


def require_room(spec: TrainingSpec, claim: Claim, source: ModelSource) -> None:
    """Refuses an output folder where a file of the user's would be replaced."""
    names = result_names(spec)
    if spec.do_train:
        names |= {MODEL, *source.settings_names()}
        model, folder = (source.folder or Path("/")).resolve(), claim.folder.resolve()
        if folder in (model, *model.parents):
            raise InputError(
                f"--output_dir {claim.folder}: the model to fine-tune lies in it. "
                "Name another folder."
            )
    require_free(claim.folder, names)


def require_free_names(plan: Plan, first_step: int, folder: Path, anew: bool) -> None:
    """Raises `InputError` where a checkpoint will have the name of a user's folder, or
    one that will go has a user's file in it; `anew`: all older ones will."""
    for step, path in checkpoints(folder):
        if (path / MANIFEST).is_file():
            goes = step > first_step or (anew and step < first_step)
            if goes and users_files(path):
                raise InputError(
                    f"--output_dir {folder}: {path.name}/{users_files(path)[0]} was "
                    "not written by an earlier run and would be removed. Move it away, "
                    "or name another --output_dir."
                )
            continue
        if first_step < step <= plan.total_steps and plan.saves_after(step - 1):
            raise InputError(
                f"--output_dir {folder}: {path.name} there is no checkpoint of these "
                "trainers and would be replaced. Move it away, or name another folder."
            )


def _flat(content: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield at + name, value


def load_backend(
    backend_class: BackendClass, spec: TrainingSpec, source: ModelSource, start: Start
) -> Backend:
    """The backend with its weights: the checkpoint's own, where there is one."""
    if start.checkpoint is None:
        return backend_class().load(spec, source)
    folder = start.checkpoint.folder
    try:
        backend = backend_class().load(spec, source.with_weights_of(folder))
    except InputError as error:
        raise InputError(f"{folder} is of another model: {error}") from error
    require_shapes(folder, backend.shapes())
    return backend
