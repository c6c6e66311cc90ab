"""The record of a run while it runs: updates, log lines, metrics."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reference_trainers.data.batches import GlobalBatch
from reference_trainers.errors import InputError
from reference_trainers.files import files_in
from reference_trainers.protocols import Update
from reference_trainers.recipe.plan import Plan
from reference_trainers.report.clock import Clock
from reference_trainers.report.progress import say
from reference_trainers.results import StepRecord, row_ids_of
from reference_trainers.spec import TrainingSpec

# A run may be resumed with others of these: the report says where
MAY_CHANGE = (
    *("learning_rate", "lr_scheduler_type", "warmup_steps", "warmup_ratio"),
    *("num_train_epochs", "max_steps"),
)


class LossNotFinite(InputError):
    """An update spoiled the weights."""


def mean_loss(steps: Sequence[StepRecord]) -> float | None:
    """None: no step has a finite one, as fp16 overflowed in all."""
    losses = [step.loss for step in steps if math.isfinite(step.loss)]
    return sum(losses) / len(losses) if losses else None


class Record:
    """Updates stay on the device until a line is due: then all are read at once."""

    def __init__(
        self,
        plan: Plan,
        spec: TrainingSpec,
        folder: Path,
        first_step: int = 0,
        trainer_state: Mapping[str, Any] | None = None,
        steps: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ):
        """`trainer_state` and `steps` are of the checkpoint that a run resumes from."""
        before, known = trainer_state or {}, steps or {}
        self.plan = plan
        self.spec = spec
        self.folder = folder
        self.first_step = first_step
        self.steps: list[StepRecord] = list(known.get("steps", []))
        """Of the run from its beginning, whoever made them."""
        self.evaluations: list[dict[str, Any]] = list(known.get("evaluations", []))
        self.log_history: list[dict[str, Any]] = list(before.get("log_history", []))
        """As transformers' trainer_state.json has it."""
        self.best_metric: float | None = before.get("best_metric")
        self.best_step: int | None = before.get("best_global_step")
        self.best_checkpoint: Path | None = None
        self._best_before: tuple[Any, Any, Any] = (None, None, None)
        self.changes: list[dict[str, Any]] = list(known.get("changes", []))
        if self.changed_flags(known):
            self.changes.append({"step": first_step, **self.changed_flags(known)})
        self._before = len(self.steps)
        self._event_files_before = {*known.get("event_files", [])}
        self._pending: list[tuple[StepRecord, Update]] = []
        self._logged: int = known.get("logged", 0)
        self._compilations = 0
        self.clock = clock or Clock()
        self._bar = tqdm(
            desc="train",
            total=plan.total_steps,
            initial=first_step,
            leave=False,
            disable=spec.disable_tqdm or not sys.stderr.isatty(),
        )
        self._board: Any = None
        self._boards_before: set[str] | None = None

    def log_to_tensorboard(self, folder: Path) -> None:
        """Also writes every log line as TensorBoard events into `folder`."""
        # Here, because it loads TensorFlow where that is installed
        from tensorboard.summary import Writer

        self._boards_before = {*files_in(self.folder)} - self._event_files_before
        self._board = Writer(str(folder))

    @property
    def next_step(self) -> int:
        new = len(self.steps) - self._before + len(self._pending)
        return self.first_step + new

    @property
    def is_evaluated(self) -> bool:
        """Whether the weights as they are have been evaluated."""
        return any(found["step"] == self.next_step for found in self.evaluations)

    def add(
        self,
        batch: GlobalBatch,
        update: Update,
        learning_rate: float,
        compilations: int | None = None,
    ) -> None:
        """Remembers an update; does not wait for it.

        `compilations`: programs compiled so far, where the framework compiles.
        """
        compiled = compilations is not None and compilations > self._compilations
        self._compilations = compilations or 0
        known = StepRecord(
            step=batch.step,
            epoch=self.plan.epoch_at(batch.step + 1),
            row_ids=row_ids_of(batch.row_ids, self.plan.rows),
            learning_rate=learning_rate,
            loss=math.nan,
            grad_norm=math.nan,
            target_tokens=batch.target_tokens,
            seconds=self.clock.lap(),
            compiled=compiled,
            applied=update.applied,
        )
        self._pending.append((known, update))
        self._bar.update()

    def read(self) -> None:
        """Waits for the pending updates.

        Raises `LossNotFinite` at the first whose loss or gradient is not.
        """
        pending, self._pending = self._pending, []
        for known, update in pending:
            loss, norm = float(update.loss), float(update.grad_norm)
            finite = math.isfinite(loss) and math.isfinite(norm)
            if not known.applied:
                loss, norm = (x if math.isfinite(x) else math.inf for x in (loss, norm))
            elif not finite:
                raise LossNotFinite(
                    f"step {known.step}: the loss is {loss:g} and the gradient norm "
                    f"{norm:g}. It is in no checkpoint; try a lower --learning_rate."
                )
            self.steps.append(replace(known, loss=loss, grad_norm=norm))
        if pending:  # the wait belongs to the step that was waited for
            last = self.steps[-1]
            self.steps[-1] = replace(last, seconds=last.seconds + self.clock.lap())

    def log(self) -> None:
        """One line: the mean loss since the last, and where the run is."""
        self.read()
        new, self._logged = self.steps[self._logged :], len(self.steps)
        if not new:
            return
        last = new[-1]
        values = {
            "loss": mean_loss(new),
            "grad_norm": last.as_dict()["grad_norm"],
            "learning_rate": last.learning_rate,
            "epoch": last.epoch,
        }
        self._add_to_history("train", values, last.step + 1)

    def log_metrics(self, metrics: dict[str, Any]) -> None:
        """An evaluation while training."""
        self.read()
        step = self.next_step
        self.evaluations.append({"step": step, **metrics})
        self._add_to_history(
            "eval", {**metrics, "epoch": self.plan.epoch_at(step)}, step
        )
        if self.spec.load_best_model_at_end and self.plan.saves_after(step - 1):
            self._keep_best(metrics, step)

    def _keep_best(self, metrics: Mapping[str, Any], step: int) -> None:
        value, best = metrics[f"eval_{self.spec.best_metric}"], self.best_metric
        sign = 1 if self.spec.more_is_better else -1
        if value is not None and (best is None or sign * value > sign * best):
            self._best_before = (best, self.best_step, self.best_checkpoint)
            self.best_metric, self.best_step = value, step
            self.best_checkpoint = self.folder / f"checkpoint-{step}"

    def take_back_best(self) -> None:
        """The checkpoint of this step could not be saved: it can't be the best."""
        if self.best_step == self.next_step:
            self.best_metric, self.best_step, self.best_checkpoint = self._best_before

    def trainer_state(self) -> dict[str, Any]:
        """trainer_state.json, in the fields of transformers' TrainerState."""
        best = self.best_checkpoint
        return {
            "global_step": self.next_step,
            "max_steps": self.plan.total_steps,
            "epoch": self.plan.epoch_at(self.next_step),
            "train_batch_size": self.plan.per_device_batch,
            "logging_steps": self.plan.logging_steps,
            "eval_steps": self.plan.eval_steps or 0,
            "save_steps": self.plan.save_steps or 0,
            "best_metric": self.best_metric,
            "best_global_step": self.best_step,
            "best_model_checkpoint": best.name if best else None,
            "log_history": self.log_history,
        }

    def past(self) -> dict[str, Any]:
        """What a run that resumes must know of this one, beside `trainer_state`."""
        return {
            "recipe": {name: getattr(self.spec, name) for name in MAY_CHANGE},
            "changes": self.changes,
            "steps": [step.as_dict() for step in self.steps],
            "logged": self._logged,
            "evaluations": self.evaluations,
            "event_files": self.event_files(),
        }

    def changed_flags(self, past: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Flags of the recipe that are not those of the run before: both values."""
        before = past.get("recipe", {})
        both = {name: [was, getattr(self.spec, name)] for name, was in before.items()}
        return {name: [was, now] for name, (was, now) in both.items() if was != now}

    @property
    def changed(self) -> list[str]:
        """A sentence on what changed where the run was resumed."""
        here = [change for change in self.changes if change["step"] == self.first_step]
        flags = {
            n: both for change in here for n, both in change.items() if n != "step"
        }
        if not flags:
            return []
        told = (f"{name} was {was} and is {now}" for name, (was, now) in flags.items())
        return [f"From step {self.first_step} on, {', '.join(told)}."]

    def event_files(self) -> list[str]:
        """The TensorBoard files of the run, relative to the output folder."""
        if self._boards_before is None:
            return sorted(self._event_files_before)
        found = {path for path in files_in(self.folder) if path.startswith("runs/")}
        return sorted(found - self._boards_before)

    def _add_to_history(self, split: str, values: Mapping[str, Any], step: int) -> None:
        self.log_history.append({**values, "step": step})
        finite = {name: value for name, value in values.items() if value is not None}
        if self._board is not None:
            for name, value in finite.items():
                tag = f"{split}/{name.removeprefix('eval_')}"
                self._board.add_scalar(tag, value, step)
        shown = "  ".join(f"{name} {value:.6g}" for name, value in finite.items())
        say(f"step {step}/{self.plan.total_steps}  {shown}")

    def train_metrics(self, rows: int) -> dict[str, Any]:
        """What train_results.json says; times are of this process's steps, if any."""
        metrics: dict[str, Any] = {
            "epoch": self.plan.epoch_at(self.next_step),
            "train_samples": rows,
        }
        if self.steps:
            new, seconds = self.steps[self._before :], self.clock.elapsed()
            if not new:  # nothing was left to train
                new, seconds = self.steps, sum(step.seconds for step in self.steps)
            done, seconds = len(new), max(seconds, 1e-9)
            passed = sum(self.plan.rows_of(step.step) for step in new)
            metrics |= {
                "train_loss": mean_loss(self.steps),
                "train_runtime": round(seconds, 4),
                "train_samples_per_second": round(passed / seconds, 3),
                "train_steps_per_second": round(done / seconds, 3),
            }
        return metrics

    def close(self) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()
            self._board = None
