"""The life of a run, once for all trainers, from top to bottom.

claim the folder -> decide how it starts -> model and rows -> train -> evaluate ->
predict -> publish. Everything is written into a stage first: a run that fails leaves
the output folder as it found it, but for whole checkpoints.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from reference_trainers import loop
from reference_trainers.checkpoints.manifest import MODEL
from reference_trainers.checkpoints.resume import (
    Start,
    identity_of,
    read_checkpoint,
    read_state,
    read_trainer_state,
    require_same_run,
    require_shapes,
    start_of,
)
from reference_trainers.checkpoints.write import Saver, write_model
from reference_trainers.data.batches import GlobalBatch
from reference_trainers.data.rows import load_rows
from reference_trainers.data.tokens import Split
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.files import write_json
from reference_trainers.folder import Claim, claimed, output_folder, publish
from reference_trainers.models.generation import generation_settings
from reference_trainers.models.source import ModelSource, load_model
from reference_trainers.protocols import Backend, Update
from reference_trainers.recipe.plan import plan_of
from reference_trainers.report.card import model_card
from reference_trainers.report.evaluation import EvaluationSettings, evaluate
from reference_trainers.report.progress import say
from reference_trainers.report.record import Record
from reference_trainers.report.write import describe, write_results
from reference_trainers.results import REPORT_FILE, RunReport, StepRecord
from reference_trainers.signals import stop_signals
from reference_trainers.spec import TrainingSpec
from reference_trainers.world import require_one_process, world_of

BackendClass = Callable[[], type[Backend]]
"""Gives a backend's class; called late, because it imports the framework."""


def run(name: str, backend_class: BackendClass, spec: TrainingSpec) -> RunReport:
    """Runs `spec` in the trainer of that name, and writes its output folder.

    Raises `InputError` for what the user can fix, `TrainingStopped` on a signal.
    """
    # ---- one process, one folder -----------------------------------------------------
    require_one_process(world_of())
    with claimed(output_folder(spec)) as claim:
        start = start_of(spec, claim)
        for warning in start.warnings:
            say(warning)

        # ---- model and rows ----------------------------------------------------------
        source = load_model(spec)
        for warning in source.warnings:
            say(warning)
        splits = load_rows(spec, source.tokenizer)
        backend = load_backend(backend_class, spec, source, start)
        settings = evaluation_settings(spec, source, backend)

        # ---- train, evaluate, predict ------------------------------------------------
        training = Training()
        if spec.do_train:
            training = train(spec, claim, start, source, splits, backend, settings)
        metrics = dict(training.metrics)
        if spec.do_eval:
            metrics |= evaluate(backend, splits["validation"], "eval", settings)
        if spec.do_predict:
            into = claim.stage if spec.predict_with_generate else None
            metrics |= evaluate(backend, splits["test"], "predict", settings, into)

        # ---- results, and the report of it all ---------------------------------------
        report = report_of(name, spec, claim, start, source, training, metrics)
        if training.saver is None and not metrics:
            return report  # nothing was left to do
        describe(report, splits, backend)
        try:
            if training.saver is not None:
                write_model_folder(claim.stage, source, backend, report)
            write_results(
                claim.stage, claim.folder, report, trained=training.saver is not None
            )
            publish(claim.stage, claim.folder)
            if training.saver is not None:
                training.saver.replace_older_run(keep=report.files)
        except OSError as error:
            raise InputError(
                f"--output_dir {claim.folder}: the results cannot be written: "
                f"{error.strerror}. Its checkpoints still stand; fix that, and give "
                "the same command again."
            ) from error
        return report


def load_backend(
    backend_class: BackendClass, spec: TrainingSpec, source: ModelSource, start: Start
) -> Backend:
    """The backend with its weights: the checkpoint's own, where there is one."""
    if start.checkpoint is None or not spec.do_train:
        return backend_class().load(spec, source)
    folder = start.checkpoint.folder
    try:
        backend = backend_class().load(spec, source.with_weights_of(folder))
    except InputError as error:
        raise InputError(f"{folder} is of another model: {error}") from error
    require_shapes(folder, backend.shapes())
    return backend


def evaluation_settings(
    spec: TrainingSpec, source: ModelSource, backend: Backend
) -> EvaluationSettings:
    """How every split is evaluated, while training and after it."""
    generation = generation_settings(spec, source.generation_config, source.config)
    return EvaluationSettings(
        tokenizer=source.tokenizer,
        padding=source.padding(spec, backend, spec.longest_generation),
        batch_size=spec.per_device_eval_batch_size * backend.devices,
        generation=generation if spec.predict_with_generate else None,
        quiet=spec.disable_tqdm,
    )


@dataclass(frozen=True)
class Training:
    """What training came to."""

    total_steps: int = 0
    steps: Sequence[StepRecord] = ()
    evaluations: Sequence[Mapping[str, float]] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    saver: Saver | None = None
    """None: nothing was trained."""


def train(
    spec: TrainingSpec,
    claim: Claim,
    start: Start,
    source: ModelSource,
    splits: Mapping[str, Split],
    backend: Backend,
    settings: EvaluationSettings,
) -> Training:
    """Trains from where the run starts, or finds that nothing is left to train."""
    split = splits["train"]
    padding = source.padding(spec, backend, spec.max_target_length)
    plan = plan_of(spec, len(split.rows), backend.devices, padding)
    identity = identity_of(plan, split.report.digest, source)
    if start.checkpoint is not None:
        require_same_run(start.checkpoint.manifest.identity, identity)
        if start.step >= plan.total_steps and (claim.folder / MODEL).exists():
            say(f"{start.checkpoint.folder} is the end of this run: nothing to do.")
            return finished_earlier(plan.total_steps, claim.folder)
        backend.restore(read_state(start.checkpoint, parameters=False))
        say(f"Resuming from {start.checkpoint.folder}.")
    record = Record(
        plan,
        spec,
        claim.folder,
        first_step=start.step,
        trainer_state=read_trainer_state(start.checkpoint) if start.checkpoint else {},
    )
    if spec.report_to == "tensorboard":
        record.log_to_tensorboard(claim.stage / "runs")
    saver = Saver(spec, claim.folder, identity, source, start.checkpoint)
    judge = partial(judged, backend, splits, settings)
    hooks = RunHooks(backend, record, saver, judge)
    fit = backend.fit or partial(loop.fit, backend)
    try:
        with stop_signals(hooks.ask_to_stop):
            fit(split.rows, plan, hooks)
        record.log()
    finally:
        record.close()
    if spec.load_best_model_at_end and record.best_checkpoint:
        backend.restore(read_checkpoint(record.best_checkpoint)[0])
    write_json(claim.stage / "trainer_state.json", record.trainer_state())
    return Training(
        total_steps=plan.total_steps,
        steps=record.steps,
        evaluations=record.evaluations,
        metrics=record.train_metrics(len(split.rows)),
        saver=saver,
    )


def judged(
    backend: Backend, splits: Mapping[str, Split], settings: EvaluationSettings
) -> dict[str, float]:
    """Metrics of the validation rows with the weights as they are."""
    return evaluate(backend, splits["validation"], "eval", settings)


def finished_earlier(total_steps: int, folder: Path) -> Training:
    """A report written anew still says how the model came about."""
    if not (folder / REPORT_FILE).is_file():
        return Training(total_steps)
    earlier = RunReport.read(folder)
    return Training(total_steps, earlier.steps, earlier.evaluations)


class RunHooks:
    """`Hooks` of a run: its record, its checkpoints, its evaluations, its stop."""

    def __init__(self, backend: Backend, record: Record, saver: Saver, judge: Any):
        self.step = record.first_step
        self.backend = backend
        self.record_ = record
        self.saver = saver
        self.judge = judge
        """Evaluates the validation rows; returns their metrics."""
        self.signal: signal.Signals | None = None

    def ask_to_stop(self, signal_: signal.Signals) -> None:
        self.signal = signal_
        say(f"{signal_.name}: stopping after this step.")

    @property
    def stop(self) -> TrainingStopped | None:
        if self.signal is None:
            return None
        done = f"Stopped after {self.record_.next_step} steps."
        newest = self.saver.newest
        how = f" To resume: --resume_from_checkpoint {newest}" if newest else ""
        return TrainingStopped(f"{done}{how}", 128 + self.signal)

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        self.record_.add(batch, update, learning_rate, self.backend.compilations)

    def log(self) -> None:
        self.record_.log()

    def evaluate(self) -> None:
        self.record_.read()  # so that its wait is not counted as evaluation
        with self.record_.clock.paused():
            self.record_.log_metrics(self.judge())

    def save(self) -> None:
        self.record_.read()  # a NaN must not become a checkpoint
        with self.record_.clock.paused():
            self.saver.save(self.backend, self.record_)


def report_of(
    name: str,
    spec: TrainingSpec,
    claim: Claim,
    start: Start,
    source: ModelSource,
    training: Training,
    metrics: Mapping[str, float],
) -> RunReport:
    """What the run says of itself, but for the machine and the files."""
    saved = training.saver.warnings if training.saver else []
    return RunReport(
        trainer=name,
        spec=spec.as_dict(),
        spec_hash=spec.hash,
        total_steps=training.total_steps,
        resumed_at=start.step if start.checkpoint and spec.do_train else None,
        steps=list(training.steps),
        evaluations=[dict(found) for found in training.evaluations],
        metrics=dict(metrics),
        warnings=[*claim.warnings, *start.warnings, *source.warnings, *saved],
    )


def write_model_folder(
    stage: Path,
    source: ModelSource,
    backend: Backend,
    report: RunReport,
) -> None:
    """The folder that `from_pretrained` opens, and its model card."""
    source.save_settings(stage)
    write_model(stage, backend.state())
    card = model_card(TrainingSpec(**report.spec), report.trainer, report.metrics)
    (stage / "README.md").write_text(card, encoding="utf-8")
