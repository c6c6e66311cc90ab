"""The record of a run while it runs: updates, log lines, metrics."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reference_trainers.batches import GlobalBatch
from reference_trainers.errors import InputError
from reference_trainers.progress import say
from reference_trainers.results import StepRecord, row_ids_of
from reference_trainers.schedule import Plan
from reference_trainers.spec import TrainingSpec
from reference_trainers.trainer import Update


class Record:
    """Updates stay on the device until a line is due: then all are read at once."""

    def __init__(self, plan: Plan, spec: TrainingSpec, first_step: int = 0):
        self.plan = plan
        self.first_step = first_step
        self.steps: list[StepRecord] = []
        self.evaluations: list[dict[str, float]] = []
        self.log_history: list[dict[str, Any]] = []
        """As transformers' trainer_state.json has it."""
        self._pending: list[tuple[GlobalBatch, Update, float, float]] = []
        self._logged = 0
        self._clock = self.started = time.perf_counter()
        self._bar = tqdm(
            desc="train",
            total=plan.total_steps,
            initial=first_step,
            leave=False,
            disable=spec.disable_tqdm or not sys.stderr.isatty(),
        )
        self._board: Any = None

    def log_to_tensorboard(self, folder: Path) -> None:
        """Also writes every log line as TensorBoard events into `folder`."""
        # Here, because it loads TensorFlow where that is installed
        from tensorboard.summary import Writer

        self._board = Writer(str(folder))

    @property
    def next_step(self) -> int:
        return self.first_step + len(self.steps) + len(self._pending)

    def add(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        """Remembers an update; does not wait for it."""
        now = time.perf_counter()
        self._pending.append((batch, update, learning_rate, now - self._clock))
        self._clock = now
        self._bar.update()

    def read(self) -> None:
        """Waits for the pending updates.

        Raises `InputError` at the first whose loss or gradient is not finite.
        """
        pending, self._pending = self._pending, []
        for index, (batch, update, learning_rate, seconds) in enumerate(pending):
            loss, norm = float(update.loss), float(update.grad_norm)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise InputError(
                    f"step {batch.step}: the loss is {loss:g} and the gradient norm "
                    f"{norm:g}. Nothing of this run was written after its last "
                    "checkpoint; try a lower --learning_rate."
                )
            if index == len(pending) - 1:  # the wait belongs to the step waited for
                now = time.perf_counter()
                seconds, self._clock = seconds + now - self._clock, now
            self.steps.append(
                StepRecord(
                    step=batch.step,
                    epoch=self.plan.epoch_at(batch.step + 1),
                    row_ids=row_ids_of(batch.row_ids, self.plan.rows),
                    learning_rate=learning_rate,
                    loss=loss,
                    grad_norm=norm,
                    target_tokens=batch.target_tokens,
                    seconds=seconds,
                )
            )

    def log(self) -> None:
        """One line: the mean loss since the last, and where the run is."""
        self.read()
        new, self._logged = self.steps[self._logged :], len(self.steps)
        if not new:
            return
        last = new[-1]
        values = {
            "loss": sum(step.loss for step in new) / len(new),
            "grad_norm": last.grad_norm,
            "learning_rate": last.learning_rate,
            "epoch": last.epoch,
        }
        self._add_to_history("train", values, last.step + 1)

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """An evaluation while training."""
        self.read()
        step = self.next_step
        self.evaluations.append({"step": step, **metrics})
        values = {**metrics, "epoch": self.plan.epoch_at(step)}
        self._add_to_history("eval", values, step)

    def _add_to_history(self, kind: str, values: dict[str, float], step: int) -> None:
        self.log_history.append({**values, "step": step})
        if self._board is not None:
            for name, value in values.items():
                tag = f"{kind}/{name.removeprefix('eval_')}"
                self._board.add_scalar(tag, value, step)
        shown = "  ".join(f"{name} {value:.6g}" for name, value in values.items())
        say(f"step {step}/{self.plan.total_steps}  {shown}")

    def train_metrics(self, rows: int) -> dict[str, float]:
        """What train_results.json says; rows per second count repeated rows."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        done = len(self.steps)
        passed = min(done * self.plan.global_batch, done * self.plan.rows)
        return {
            "epoch": self.plan.epoch_at(self.next_step),
            "train_loss": sum(step.loss for step in self.steps) / max(1, done),
            "train_runtime": round(seconds, 4),
            "train_samples": rows,
            "train_samples_per_second": round(passed / seconds, 3),
            "train_steps_per_second": round(done / seconds, 3),
        }

    def close(self) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()
