"""The life of a run, once for all trainers, from top to bottom.

claim the folder -> decide how it starts -> model and rows -> train -> evaluate ->
predict -> publish -> push. Everything is written into a stage first: a run that fails
leaves the output folder as it found it, but for whole checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from reference_trainers import loop
from reference_trainers.checkpoints.hooks import RunHooks, find_best, restore_best
from reference_trainers.checkpoints.read import (
    read_past,
    read_published,
    read_state,
    read_trainer_state,
)
from reference_trainers.checkpoints.resume import (
    BackendClass,
    Start,
    identity_of,
    is_finished,
    load_backend,
    require_free_names,
    require_resumable,
    require_room,
    start_of,
)
from reference_trainers.checkpoints.write import Saver, write_model
from reference_trainers.data.rows import load_rows
from reference_trainers.data.tokens import Split
from reference_trainers.errors import TrainingStopped
from reference_trainers.files import json_of
from reference_trainers.folder import (
    Claim,
    claimed,
    finish_superseding,
    output_folder,
    publish,
    write_errors_told,
)
from reference_trainers.hub.sharing import Sharing, check_sharing
from reference_trainers.life.signals import StopRequest, stop_signals
from reference_trainers.models.source import ModelSource, load_model
from reference_trainers.processes import share
from reference_trainers.processes.group import Group
from reference_trainers.protocols import Backend
from reference_trainers.recipe.plan import Plan, plan_of
from reference_trainers.report.evaluation import (
    EvaluationLeft,
    EvaluationSettings,
    evaluate,
    evaluation_settings,
)
from reference_trainers.report.progress import say, tell
from reference_trainers.report.record import Record
from reference_trainers.report.write import (
    STATE,
    added_to,
    describe,
    is_told,
    what_changed,
    write_results,
)
from reference_trainers.results import REPORT_FILE, RunReport
from reference_trainers.spec import TrainingSpec


def run(
    name: str, backend_class: BackendClass, spec: TrainingSpec, group: Group
) -> RunReport:
    """Runs `spec` in the trainer of that name, and writes its output folder.

    Raises `InputError` for what the user can fix, `TrainingStopped` on a signal.
    """
    # ---- one folder ------------------------------------------------------------------
    with claimed(output_folder(spec)) as claim:
        start = start_of(spec, claim)
        tell(start.warnings)
        repository = check_sharing(spec, claim.report)

        # ---- model and rows ----------------------------------------------------------
        source = load_model(spec)
        tell(source.warnings(spec))
        require_room(spec, claim, source)
        splits = load_rows(spec, source.tokenizer)
        group.say("load")  # what is cached is there by now
        with group.together():
            backend = load_backend(backend_class, spec, source, start)
        with (
            stop_signals(claim.discard) as stopping,
            closing(Sharing(spec, repository, stopping.exit_status)) as sharing,
        ):
            settings = evaluation_settings(
                *(spec, source, backend, group, stopping.exit_status)
            )
            ready = Ready(
                *(spec, claim, start, source, splits),
                *(backend, group, settings, stopping, sharing),
            )

            # ---- train, evaluate, predict --------------------------------------------
            training = train(ready) if spec.do_train else Training()
            earlier = start.published if training.hooks is None else None
            if earlier is not None and is_told(earlier, spec, splits):
                return sharing.finished(claim.folder, earlier)
            with write_errors_told(claim.folder):
                metrics = {**training.metrics, **judge(ready, training)}

                # ---- results, and the report of it all -------------------------------
                if earlier is not None:
                    report = added_to(earlier, name, spec, splits, metrics)
                else:
                    report = report_of(name, ready, training, metrics)
                    describe(report, splits, backend)
                publish_results(ready, training, report)
                return sharing.finished(claim.folder, report)


@dataclass(frozen=True)
class Ready:
    """All that a run has before it computes anything."""

    spec: TrainingSpec
    claim: Claim
    start: Start
    source: ModelSource
    splits: Mapping[str, Split]
    backend: Backend
    group: Group
    settings: EvaluationSettings
    stopping: StopRequest
    sharing: Sharing


@dataclass(frozen=True)
class Training:
    """What training came to."""

    total_steps: int = 0
    identity: Mapping[str, Any] = field(default_factory=dict)
    model_step: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    hooks: RunHooks | None = None
    """None: nothing was trained."""


def train(ready: Ready) -> Training:
    """Trains from where the run starts, or finds that nothing is left to train."""
    spec, start, backend = ready.spec, ready.start, ready.backend
    split = ready.splits["train"]
    padding = ready.source.padding(spec, backend, spec.max_target_length)
    plan = plan_of(spec, len(split.rows), backend.devices, padding)
    identity = identity_of(spec, plan, split.report.digest, ready.source)
    if is_finished(start.published, identity, plan):
        say(
            f"{ready.claim.folder} holds the end of this run: nothing is left to train."
        )
        tell(what_changed(start.published, spec))
        return Training()
    require_resumable(start, identity, plan, ready.claim.folder)
    anew = spec.overwrite_output_dir
    require_free_names(plan, start.step, ready.claim.folder, anew)
    hooks = hooks_of(ready, plan, identity)
    record = hooks.record_
    if start.checkpoint is not None:
        # The others have not read the checkpoint's weights
        state = read_state(start.checkpoint, parameters=not ready.group.is_one)
        share.restore(backend, ready.group, state)
        say(f"Resuming from {start.checkpoint.folder}.")
    try:
        hooks.catch_up(plan)
        if hooks.step < plan.total_steps:
            facts: dict[str, Any] = {"step": hooks.step, "overflows": hooks.overflows}
            ready.group.say("fit", plan=asdict(plan), **facts)
            rows = split.rows
            if not ready.group.is_one:
                rows = share.SaidRows(rows, ready.group)
            (backend.fit or partial(loop.fit, backend))(rows, plan, hooks)
        hooks.log()
    finally:
        record.close()
    ready.stopping.leave_by(None)  # the weights are changing
    step = restore_best(backend, ready.group, record, hooks.saver)
    hooks.holds_best = step != record.next_step
    metrics = record.train_metrics(len(split.rows))
    return Training(plan.total_steps, identity, step, metrics, hooks)


def hooks_of(ready: Ready, plan: Plan, identity: Mapping[str, Any]) -> RunHooks:
    """The record and the checkpoints of the run, with what went before."""
    spec, folder, checkpoint = ready.spec, ready.claim.folder, ready.start.checkpoint
    state = read_trainer_state(checkpoint) if checkpoint else {}
    past = read_past(checkpoint) if checkpoint else {}
    record = Record(plan, spec, folder, ready.start.step, state, past)
    saver = Saver(spec, folder, identity, ready.source, checkpoint)
    if checkpoint is not None:
        saver.warnings += find_best(record, checkpoint)
        tell([*saver.warnings, *record.changed])
    if spec.report_to == "tensorboard":
        record.log_to_tensorboard(folder / "runs")
    return RunHooks(
        ready.backend,
        ready.group,
        record,
        saver,
        ready.stopping,
        ready.sharing,
        partial(judge_validation, ready),
    )


def judge_validation(ready: Ready) -> dict[str, Any]:
    """Metrics of the validation rows with the weights as they are."""
    return evaluate(ready.backend, ready.splits["validation"], "eval", ready.settings)


def judge(ready: Ready, training: Training) -> dict[str, Any]:
    """Metrics of the splits that are to be judged.

    Where nothing was trained, it is what an earlier run published that is judged.
    """
    spec, backend, splits = ready.spec, ready.backend, ready.splits
    judges = spec.do_eval or spec.do_predict
    published = None if training.hooks else ready.start.published
    if judges and published is not None and published.model_step is not None:
        share.restore(backend, ready.group, read_published(ready.claim.folder))
    metrics: dict[str, Any] = {}
    hooks = training.hooks
    stopped = "Stopped while evaluating; what stood before still stands."
    ready.stopping.leave_by(hooks.leave if hooks else lambda: stopped)
    try:
        if spec.do_eval:
            metrics |= judge_validation(ready)
        if spec.do_predict:
            into = ready.claim.stage if spec.predict_with_generate else None
            metrics |= evaluate(
                backend, splits["test"], "predict", ready.settings, into
            )
    except EvaluationLeft as left:
        if hooks is not None:
            hooks.stop_after_training()
        raise TrainingStopped(stopped, left.exit_status) from None
    finally:
        ready.stopping.leave_by(None)
    return metrics


def report_of(
    name: str,
    ready: Ready,
    training: Training,
    metrics: Mapping[str, Any],
) -> RunReport:
    """What the run says of itself, but for the machine and the files."""
    start = ready.start
    told = [*ready.claim.warnings, *start.warnings, *ready.source.warnings(ready.spec)]
    report = RunReport(
        trainer=name,
        spec=ready.spec.as_dict(),
        spec_hash=ready.spec.hash,
        total_steps=training.total_steps,
        identity=dict(training.identity),
        model_step=training.model_step,
        metrics=dict(metrics),
        warnings=told,
    )
    if training.hooks is not None:
        record = training.hooks.record_
        report.resumed_at = start.step if start.checkpoint else None
        report.steps = record.steps
        report.evaluations = record.evaluations
        report.changes = record.changes
        report.files = record.event_files()
        report.warnings += training.hooks.saver.warnings
    return report


def publish_results(ready: Ready, training: Training, report: RunReport) -> None:
    """Everything into the output folder: model, results, and the report of it all."""
    stage, hooks = ready.claim.stage, training.hooks
    if hooks is not None:
        ready.source.save_settings(stage)
        write_model(stage, hooks.take())
        state = json_of(hooks.record_.trainer_state())  # sorted, as after a resume
        (stage / STATE).write_text(state, encoding="utf-8")
    write_results(stage, report)
    if hooks is not None:
        kept = hooks.saver.newest, hooks.record_.best_checkpoint
        hooks.saver.supersede(REPORT_FILE, stage / REPORT_FILE, *kept)
    publish(stage, ready.claim.folder)
    finish_superseding(ready.claim.folder)
