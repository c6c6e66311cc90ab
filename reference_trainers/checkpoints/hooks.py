"""What is done beside training: record, evaluations, checkpoints, the best, a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from reference_trainers.checkpoints.keep import sound
from reference_trainers.checkpoints.manifest import Checkpoint, CheckpointError
from reference_trainers.checkpoints.read import read_checkpoint
from reference_trainers.checkpoints.write import Saver
from reference_trainers.data.batches import GlobalBatch
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.processes import share
from reference_trainers.processes.group import Group
from reference_trainers.protocols import Backend, State, Update
from reference_trainers.recipe.plan import Plan
from reference_trainers.report.evaluation import EvaluationLeft
from reference_trainers.report.progress import say
from reference_trainers.report.record import LossNotFinite, Record


class Stopping(Protocol):
    """What `signals.StopRequest` answers, and is told."""

    def exit_status(self) -> int | None: ...

    def leave_by(self, leave: Callable[[], str] | None) -> None: ...


class Pushes(Protocol):
    """What of `hub.sharing.Sharing` training has to do with."""

    def busy_with(self) -> tuple[Path, ...]: ...

    def saved(self, checkpoint: Path, step: int, is_last: bool) -> None: ...


class RunHooks:
    """`Hooks` of a run."""

    def __init__(
        self,
        backend: Backend,
        group: Group,
        record: Record,
        saver: Saver,
        stopping: Stopping,
        sharing: Pushes,
        judge: Callable[[], dict[str, Any]],
    ):
        """`judge` evaluates the validation rows; it returns their metrics."""
        self.step = record.first_step
        self.overflows = sum(not step.applied for step in record.steps)
        self.holds_best = False
        """Whether the backend has the weights of the best, not of the last step."""
        self.backend = backend
        self.group = group
        self._agreed: int | None = None
        self.record_ = record
        self.saver = saver
        self.stopping = stopping
        self.sharing = sharing
        self.judge = judge
        stopping.leave_by(self.leave)

    @property
    def stop(self) -> TrainingStopped | None:
        exit_status = self._agreed
        if self.group.is_one:  # nobody to agree with: what came since counts, too
            exit_status = self.stopping.exit_status()
        return TrainingStopped(self.told, exit_status) if exit_status else None

    @property
    def told(self) -> str:
        """What a stop says."""
        done = f"Stopped after {self.record_.next_step} steps."
        newest = self.saver.newest
        how = f" To resume: --resume_from_checkpoint {newest}" if newest else ""
        return f"{done}{how}"

    def leave(self) -> str:
        """The last thing that is done where an evaluation holds up a stop."""
        if self.group.is_one or not self.record_.spec.fsdp:  # else others hold parts
            self.save_rest(self.backend.state)
        self.record_.close()
        return self.told

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        self.stopping.leave_by(None)  # the device may be at it still
        self.record_.add(batch, update, learning_rate, self.backend.compilations)
        self._agreed = self.group.agreed(self.stopping.exit_status())
        if not update.applied:
            self.overflows += 1
            assert self.backend.loss_scale is not None
            self.backend.loss_scale.require_use()

    def read(self) -> None:
        """Waits for the updates so far: a NaN must not become a checkpoint."""
        try:
            self.record_.read()
        except LossNotFinite as error:
            newest = self.saver.newest
            before = f" The checkpoint before it is {newest}." if newest else ""
            raise InputError(f"{error}{before}") from None

    def log(self) -> None:
        self.read()
        self.record_.log()

    def evaluate(self) -> None:
        """Where a stop is asked for, the evaluation is left: `catch_up` makes it up."""
        self.read()  # its wait is not the evaluation's
        with self.record_.clock.paused():
            self.stopping.leave_by(self.leave)
            try:
                metrics = self.judge()
            except EvaluationLeft:
                return
            finally:
                self.stopping.leave_by(None)
                self.group.say("go on")
            self.record_.log_metrics(metrics)

    def take(self) -> State:
        """The state, of which each process may hold a part."""
        return share.state(self.backend, self.group)

    def save(self) -> None:
        self.read()
        with self.record_.clock.paused():
            pushed = self.sharing.busy_with()  # must not be rotated away
            try:
                self.saver.save(self.take, self.record_, pushed)
            finally:
                self.group.say("go on")
            step = self.record_.next_step
            if self.saver.newest and self.saver.newest_step == step:
                is_last = step == self.record_.plan.total_steps
                self.sharing.saved(self.saver.newest, step, is_last)
        self.stopping.leave_by(self.leave)  # nothing would be lost

    def catch_up(self, plan: Plan) -> None:
        """What the run that is resumed left undone at its last step; raises `stop`."""
        last = self.step - 1
        if last < 0 or not plan.evaluates_after(last) or self.record_.is_evaluated:
            return
        self.evaluate()
        if plan.saves_after(last) and self.record_.is_evaluated:
            self.save()
        if self.stop:
            raise self.stop

    def save_rest(self, take: Callable[[], State]) -> None:
        """Saves what was trained since the last save, unless the best is held."""
        if self.saver.newest_step != self.record_.next_step and not self.holds_best:
            self.saver.save(take, self.record_)

    def stop_after_training(self) -> None:
        """Saves what was trained, if a stop left what comes after; raises `stop`."""
        self.save_rest(self.take)
        if self.stop:
            raise self.stop


def restore_best(backend: Backend, group: Group, record: Record, saver: Saver) -> int:
    """The best checkpoint's weights; the last ones where it is gone. Their step."""
    best = record.best_checkpoint if record.spec.load_best_model_at_end else None
    if best is None:
        return record.next_step
    try:
        state, _, manifest = read_checkpoint(best)
    except CheckpointError as error:
        warning = f"{error} It was the best: the last weights are published instead."
        saver.warnings.append(warning)
        say(warning)
        return record.next_step
    share.restore(backend, group, state)
    return manifest.step


def find_best(record: Record, resumed: Checkpoint) -> list[str]:
    """The best checkpoint so far; one that is gone is forgotten, with a warning."""
    if record.best_step is None:
        return []
    name = f"checkpoint-{record.best_step}"
    for folder in (record.folder / name, resumed.folder.parent / name):
        if folder.resolve() == resumed.folder.resolve() or sound(folder):
            record.best_checkpoint = folder
            return []
    warning = f"{name}, the best so far, is gone or damaged: it is forgotten."
    record.best_metric = record.best_step = record.best_checkpoint = None
    return [warning]
