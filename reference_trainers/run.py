"""The life of a run, once for all trainers.

rows -> model -> fit -> evaluate -> predict -> save -> report. Everything is written
into a staging folder first: a run that fails leaves the output folder as it found it,
but for whole checkpoints.
"""

from __future__ import annotations

import json
import pkgutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reference_trainers import loop
from reference_trainers.checkpoints.keep import clean_leftovers
from reference_trainers.checkpoints.resume import (
    check_fits,
    compare_identity,
    identity_of,
    read,
    resume_point,
)
from reference_trainers.checkpoints.write import Saver, write_model
from reference_trainers.data.batches import GlobalBatch
from reference_trainers.data.rows import Split, load_rows
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.files import files_in, write_json
from reference_trainers.folder import (
    Lock,
    clean_stages,
    is_occupied,
    output_folder,
    publish,
    staging,
)
from reference_trainers.models.generation import generation_settings
from reference_trainers.models.source import WEIGHTS, ModelSource, load_model
from reference_trainers.protocols import Backend, Update
from reference_trainers.recipe.plan import plan_of
from reference_trainers.report.card import model_card
from reference_trainers.report.evaluation import Evaluation, evaluate
from reference_trainers.report.machine import hardware, peak_memory, versions
from reference_trainers.report.progress import say
from reference_trainers.report.record import Record
from reference_trainers.results import REPORT_FILE, RunReport
from reference_trainers.signals import stop_signals
from reference_trainers.spec import TrainingSpec


@dataclass(frozen=True)
class BackendTrainer:
    """A trainer made of a backend and the shared life of a run."""

    name: str
    backend: str | type[Backend]
    """The class, or "module:attribute" of it: flags and files are checked before the
    framework is imported, which takes seconds."""
    trains_by_default: bool = False
    """Train and evaluate where no do_* flag is given (the Accelerate script)."""

    def run(self, spec: TrainingSpec) -> RunReport:
        """Runs `spec` and writes its output folder.

        Raises `InputError` for what the user can mend, `TrainingStopped` on a signal.
        """
        if not spec.trains_evaluates_or_predicts:
            if not self.trains_by_default:
                raise InputError(
                    "There is nothing to do: give --do_train, --do_eval, --do_predict."
                )
            spec = replace(spec, do_train=True, do_eval=True)
        return _Run(self, spec).run()

    def backend_class(self) -> Any:
        """A `SteppingBackend` or a `FittingBackend`."""
        if isinstance(self.backend, str):
            return pkgutil.resolve_name(self.backend)
        return self.backend


class _Run:
    """One run of one trainer."""

    def __init__(self, trainer: BackendTrainer, spec: TrainingSpec):
        self.trainer = trainer
        self.spec = spec
        self.folder = output_folder(spec)
        self.metrics: dict[str, float] = {}
        self.report = RunReport(trainer.name, spec.as_dict(), spec.hash)

    def run(self) -> RunReport:
        occupied = is_occupied(self.folder)
        with staging(self.folder) as stage, Lock(self.folder) as lock:
            self.report.warnings += lock.warnings
            clean_stages(self.folder, stage)
            clean_leftovers(self.folder)
            self.resumed, warnings = resume_point(self.spec, self.folder, occupied)
            self.report.warnings += warnings
            self.model: ModelSource = load_model(self.spec)
            for warning in self.model.warnings:
                say(warning)
            self.report.warnings += self.model.warnings
            self.splits: dict[str, Split] = load_rows(self.spec, self.model.tokenizer)
            backend = self.trainer.backend_class().load(self.spec, self.model)
            self.how = self._evaluation(backend)
            trained = self.spec.do_train and self._train(backend, stage)
            if self.spec.do_eval:
                split = self.splits["validation"]
                metrics = evaluate(backend, split, "eval", self.how)
                self._keep(stage, "eval", metrics)
            if self.spec.do_predict:
                self._predict(backend, stage)
            try:
                self._finish(backend, stage, trained)
            except OSError as error:
                raise InputError(
                    f"--output_dir {self.folder}: the results cannot be written: "
                    f"{error.strerror}. Its checkpoints still stand; mend that, and "
                    "give the same command again."
                ) from error
        return self.report

    # ---- phases ---------------------------------------------------------------------

    def _evaluation(self, backend: Backend) -> Evaluation:
        spec = self.spec
        settings = generation_settings(
            spec, self.model.generation_config, self.model.config
        )
        return Evaluation(
            tokenizer=self.model.tokenizer,
            padding=self.model.padding(
                spec, backend.pad_to_multiple_of, spec.longest_generation
            ),
            batch_size=spec.per_device_eval_batch_size * backend.devices,
            settings=settings if spec.predict_with_generate else None,
            quiet=spec.disable_tqdm,
        )

    def _train(self, backend: Any, stage: Path) -> bool:
        """Trains, or finds that there is nothing left to train: False."""
        spec, split = self.spec, self.splits["train"]
        padding = self.model.padding(
            spec, backend.pad_to_multiple_of, spec.max_target_length
        )
        plan = plan_of(spec, len(split.rows), backend.devices, padding)
        identity = identity_of(plan, split.report.digest, self.model)
        self.report.total_steps = plan.total_steps
        if self.resumed:
            self._go_on(backend, identity)
            if (
                self.resumed.step >= plan.total_steps
                and (self.folder / WEIGHTS).exists()
            ):
                say(f"{self.resumed.folder} is the end of this run: nothing to do.")
                self._keep_steps_of_earlier_report()
                return False
        self.saver = Saver(
            spec,
            self.folder,
            identity,
            self.model,
            (self.resumed.folder, self.resumed.step) if self.resumed else None,
        )
        record = Record(
            plan,
            spec,
            self.folder,
            first_step=self.resumed.step if self.resumed else 0,
            trainer_state=self.resumed.trainer_state if self.resumed else None,
        )
        if spec.report_to == "tensorboard":
            record.log_to_tensorboard(stage / "runs")
        progress = _Progress(self, record)
        fit = getattr(backend, "fit", None) or partial(loop.fit, backend)
        try:
            with stop_signals(progress.ask_to_stop):
                fit(split.rows, plan, progress)
            record.log()
        finally:
            record.close()
        if spec.load_best_model_at_end and record.best_checkpoint:
            backend.restore(read(record.best_checkpoint)[0])
        self._keep(stage, "train", record.train_metrics(len(split.rows)))
        self.report.steps = record.steps
        self.report.evaluations = record.evaluations
        write_json(stage / "trainer_state.json", record.trainer_state())
        return True

    def _go_on(self, backend: Backend, identity: Mapping[str, Any]) -> None:
        """Brings the backend to where the checkpoint left off."""
        assert self.resumed is not None
        compare_identity(self.resumed.manifest.identity, identity)
        shapes = {n: a.shape for n, a in backend.state().parameters.items()}
        check_fits(self.resumed.state, shapes)
        backend.restore(self.resumed.state)
        self.report.resumed_at = self.resumed.step
        say(f"Going on from {self.resumed.folder}.")

    def _keep_steps_of_earlier_report(self) -> None:
        """A report written anew still says how the model came about."""
        if (self.folder / REPORT_FILE).is_file():
            earlier = RunReport.read(self.folder)
            self.report.steps = earlier.steps
            self.report.evaluations = earlier.evaluations

    def _predict(self, backend: Backend, stage: Path) -> None:
        predictions = stage if self.spec.predict_with_generate else None
        metrics = evaluate(
            backend, self.splits["test"], "predict", self.how, predictions
        )
        self._keep(stage, "predict", metrics)

    def _keep(self, stage: Path, name: str, metrics: dict[str, float]) -> None:
        self.metrics |= metrics
        write_json(stage / f"{name}_results.json", metrics)

    def _finish(self, backend: Backend, stage: Path, trained: bool) -> None:
        report = self.report
        if trained:
            self.model.save_settings(stage)
            write_model(stage, backend.state())
            report.warnings += self.saver.warnings
            card = model_card(self.spec, self.trainer.name, self.metrics)
            (stage / "README.md").write_text(card, encoding="utf-8")
        elif not self.metrics:
            return  # nothing was left to do
        write_json(stage / "all_results.json", self._all_results(trained))
        report.metrics = self.metrics
        report.splits = {name: split.report for name, split in self.splits.items()}
        report.versions = versions()
        report.hardware = hardware(backend)
        report.peak_memory_bytes = peak_memory(backend)
        report.compilations = getattr(backend, "compilations", None)
        report.files = sorted({*files_in(stage), REPORT_FILE})
        (stage / REPORT_FILE).write_text(report.as_json(), encoding="utf-8")
        publish(stage, self.folder)
        if trained:
            self.saver.replace_older_run(keep=report.files)

    def _all_results(self, trained: bool) -> dict[str, float]:
        """The metrics of this run, beside those that an earlier one left there."""
        earlier = self.folder / "all_results.json"
        if trained or not earlier.is_file():
            return self.metrics
        return json.loads(earlier.read_text(encoding="utf-8")) | self.metrics


class _Progress:
    """What the loop sees of a run."""

    def __init__(self, run: _Run, record: Record):
        self.step = record.first_step
        self.checkpoint = run.resumed.folder if run.resumed else None
        self._run = run
        self._record = record
        self._signal: signal.Signals | None = None

    def ask_to_stop(self, signal_: signal.Signals) -> None:
        self._signal = signal_
        say(f"{signal_.name}: stopping after this step.")

    @property
    def stop(self) -> TrainingStopped | None:
        if self._signal is None:
            return None
        done = f"Stopped after {self._record.next_step} steps."
        newest = self._run.saver.newest
        how = f" To go on: --resume_from_checkpoint {newest}" if newest else ""
        return TrainingStopped(f"{done}{how}", 128 + self._signal)

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        self._record.add(batch, update, learning_rate)

    def log(self) -> None:
        self._record.log()

    def evaluate(self, backend: Backend) -> None:
        self._record.read()  # so that its wait is not counted as evaluation
        run = self._run
        metrics = evaluate(backend, run.splits["validation"], "eval", run.how)
        self._record.log_metrics(metrics)
        self._record.leave_out_this_time()

    def save(self, backend: Backend) -> None:
        self._record.read()  # a NaN must not become a checkpoint
        self._run.saver.save(backend, self._record)
        self._record.leave_out_this_time()
