"""The life of a run, once for all trainers.

rows -> model -> fit -> evaluate -> predict -> save -> report. Everything is written
into a staging folder first: a run that fails leaves the output folder as it found it,
but for whole checkpoints.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from reference_trainers import loop
from reference_trainers.arguments import exit_with, parse
from reference_trainers.batches import GlobalBatch
from reference_trainers.data import Split, load_rows
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.evaluation import Evaluation, evaluate
from reference_trainers.generation import generation_settings
from reference_trainers.machine import hardware, peak_memory, versions
from reference_trainers.model import WEIGHTS, ModelSource, load_model
from reference_trainers.model_card import model_card
from reference_trainers.output import (
    check_output_folder,
    output_folder,
    publish,
    remove_results,
    staging,
)
from reference_trainers.record import Record
from reference_trainers.results import REPORT_FILE, RunReport, json_text
from reference_trainers.schedule import plan_of
from reference_trainers.spec import TrainingSpec
from reference_trainers.trainer import Backend, State, Trainer, Update


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

    def backend_class(self) -> type[Backend]:
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

    def run(self) -> RunReport:
        check_output_folder(self.spec)
        with staging(self.folder) as stage:
            self.model: ModelSource = load_model(self.spec)
            self.splits: dict[str, Split] = load_rows(self.spec, self.model.tokenizer)
            backend = self.trainer.backend_class().load(self.spec, self.model)
            self.how = self._evaluation(backend)
            report = RunReport(self.trainer.name, self.spec.as_dict(), self.spec.hash)
            if self.spec.do_train:
                self._train(backend, stage, report)
            if self.spec.do_eval:
                split = self.splits["validation"]
                metrics = evaluate(backend, split, "eval", self.how)
                self._keep(stage, "eval", metrics)
            if self.spec.do_predict:
                self._predict(backend, stage)
            self._finish(backend, stage, report)
        return report

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

    def _train(self, backend: Backend, stage: Path, report: RunReport) -> None:
        split = self.splits["train"]
        padding = self.model.padding(
            self.spec, backend.pad_to_multiple_of, self.spec.max_target_length
        )
        plan = plan_of(self.spec, len(split.rows), backend.devices, padding)
        record = Record(plan, self.spec)
        if self.spec.report_to == "tensorboard":
            record.log_to_tensorboard(stage / "runs")
        progress = _Progress(self, record)
        fit: Callable = getattr(backend, "fit", None) or (
            lambda *rest: loop.fit(backend, *rest)
        )
        try:
            fit(split.rows, plan, progress)
            record.log()
        finally:
            record.close()
        self._keep(stage, "train", record.train_metrics(len(split.rows)))
        report.total_steps = plan.total_steps
        report.steps = record.steps
        report.evaluations = record.evaluations
        (stage / "trainer_state.json").write_text(
            json_text(trainer_state(record)), encoding="utf-8"
        )

    def _predict(self, backend: Backend, stage: Path) -> None:
        predictions = stage if self.spec.predict_with_generate else None
        metrics = evaluate(
            backend, self.splits["test"], "predict", self.how, predictions
        )
        self._keep(stage, "predict", metrics)

    def _keep(self, stage: Path, name: str, metrics: dict[str, float]) -> None:
        self.metrics |= metrics
        (stage / f"{name}_results.json").write_text(json_text(metrics))

    def _finish(self, backend: Backend, stage: Path, report: RunReport) -> None:
        spec = self.spec
        if spec.do_train:
            self.save_model(backend.state(), stage)
            card = model_card(spec, self.trainer.name, self.metrics)
            (stage / "README.md").write_text(card, encoding="utf-8")
        (stage / "all_results.json").write_text(json_text(self.metrics))
        report.metrics = self.metrics
        report.splits = {name: split.report for name, split in self.splits.items()}
        report.versions = versions()
        report.hardware = hardware(backend)
        report.peak_memory_bytes = peak_memory(backend)
        report.compilations = getattr(backend, "compilations", None)
        names = {path.relative_to(stage).as_posix() for path in stage.rglob("*.*")}
        report.files = sorted({*names, REPORT_FILE})
        (stage / REPORT_FILE).write_text(report.as_json(), encoding="utf-8")
        publish(stage, self.folder)
        if spec.overwrite_output_dir:
            remove_results(self.folder, keep=set(report.files))

    def save_model(self, state: State, folder: Path) -> None:
        """All that `from_pretrained` needs."""
        self.model.save_settings(folder)
        save_file(dict(state.parameters), folder / WEIGHTS, metadata={"format": "pt"})


class _Progress:
    """What the loop sees of a run."""

    def __init__(self, run: _Run, record: Record):
        self.step = 0
        self.stop: TrainingStopped | None = None
        self._run = run
        self._record = record

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        self._record.add(batch, update, learning_rate)

    def log(self) -> None:
        self._record.log()

    def evaluate(self, backend: Backend) -> None:
        run = self._run
        metrics = evaluate(backend, run.splits["validation"], "eval", run.how)
        self._record.log_metrics(metrics)

    def save(self, backend: Backend) -> None:
        self._record.read()


def trainer_state(record: Record) -> dict[str, Any]:
    """trainer_state.json, in the fields of transformers' TrainerState."""
    return {
        "global_step": record.next_step,
        "max_steps": record.plan.total_steps,
        "epoch": record.plan.epoch_at(record.next_step),
        "train_batch_size": record.plan.per_device_batch,
        "logging_steps": record.plan.logging_steps,
        "eval_steps": record.plan.eval_steps or 0,
        "save_steps": record.plan.save_steps or 0,
        "log_history": record.log_history,
    }


def main(trainer: Trainer, arguments: Sequence[str] | None = None) -> None:
    """The command line of one trainer; bad input ends it with status 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    traceback = "--traceback" in arguments
    try:
        spec = parse([a for a in arguments if a != "--traceback"])
        report = trainer.run(spec)
    except InputError as error:
        if traceback:
            raise
        exit_with(error)
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        raise SystemExit(stopped.exit_status) from stopped
    sys.stdout.write(json_text(report.metrics))
