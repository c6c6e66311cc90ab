"""Mutants that leave other files, or other numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.mutants.planted import T5, planted
from reference_trainers import RunReport, State, TrainingSpec

WRITE_RESULTS = "reference_trainers.life.run.write_results"
Writes = Callable[[Path, RunReport], None]


@planted(WRITE_RESULTS, caught_by=("results.files",))
def writes_no_card(sound: Writes) -> Writes:
    """Forgets README.md."""

    def write_results(stage: Path, report: RunReport) -> None:
        sound(stage, report)
        (stage / "README.md").unlink(missing_ok=True)

    return write_results


@planted(WRITE_RESULTS, caught_by=("results.nothing-temporary",))
def leaves_a_temporary_file(sound: Writes) -> Writes:
    """Leaves its notes behind."""

    def write_results(stage: Path, report: RunReport) -> None:
        (stage / "notes.tmp").touch()
        sound(stage, report)

    return write_results


@planted("reference_trainers.life.run.evaluate", caught_by=("results.metrics",))
def tells_no_speed(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves a metric out."""

    def evaluate(*run: Any) -> Mapping[str, Any]:
        metrics = sound(*run)
        return {k: v for k, v in metrics.items() if not k.endswith("per_second")}

    return evaluate


@planted("reference_trainers.life.run.publish_results", caught_by=("results.report",))
def tells_another_story(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Its report on the disk is not the one that it returns."""

    def publish_results(ready: Any, training: Any, report: RunReport) -> None:
        sound(ready, training, report)
        report.warnings.append("Said, and not written.")

    return publish_results


@planted(
    "reference_trainers.report.evaluation.Answer",
    caught_by=("results.predictions",),
)
def counts_from_one(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Numbers the rows from 1."""
    return lambda row, *texts: sound(row + 1, *texts)


@planted(
    "reference_trainers.report.evaluation.eval_batches",
    caught_by=("results.row-numbers",),
)
def numbers_what_is_left(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Counts the rows that are left, not those of the file."""

    def eval_batches(*split: Any) -> Any:
        first = 0
        for _, batch in sound(*split):
            yield np.arange(first, first + batch.rows), batch
            first += batch.rows

    return eval_batches


@planted(
    "reference_trainers.life.run.plan_of",
    caught_by=("results.defaults", "guide.commands"),
)
def trains_one_epoch(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Has a default of its own."""

    def plan_of(spec: TrainingSpec, *rest: Any) -> Any:
        own = 1.0 if spec.num_train_epochs == 3.0 else spec.num_train_epochs
        return sound(replace(spec, num_train_epochs=own), *rest)

    return plan_of


@planted(
    "reference_trainers.life.run.write_model",
    caught_by=("results.from-pretrained",),
    of=T5,
)
def renames_the_weights(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Saves them under the names of a wrapper, as DistributedDataParallel has them."""

    def write_model(folder: Path, state: State) -> None:
        named = {f"module.{name}": value for name, value in state.parameters.items()}
        sound(folder, replace(state, parameters=named))

    return write_model


@planted(
    "reference_trainers.processes.share.evaluate",
    caught_by=("results.evaluation-loss",),
)
def averages_batches(sound: Callable[..., Any]) -> Callable[..., Any]:
    """The mean of the means of the batches, as the old Flax script has it."""

    def evaluate(*batch: Any) -> tuple[float, int]:
        loss, tokens = sound(*batch)
        return loss / tokens, 1

    return evaluate


@planted(
    "reference_trainers.recipe.plan.Plan.evaluates_after",
    caught_by=("results.evaluations",),
)
def skips_the_last_evaluation(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Does not evaluate after the last step."""

    def evaluates_after(plan: Any, step: int) -> bool:
        return sound(plan, step) and (step + 1) % plan.eval_steps == 0

    return evaluates_after


@planted(WRITE_RESULTS, caught_by=("results.encoding",))
def writes_infinity(sound: Writes) -> Writes:
    """Has a number that is none of JSON's."""

    def write_results(stage: Path, report: RunReport) -> None:
        sound(stage, report)
        with (stage / "trainer_state.json").open("w", encoding="utf-8") as file:
            file.write('{"log_history": [], "best_metric": Infinity}\n')

    return write_results


@planted("reference_trainers.report.record.mean_loss", caught_by=("results.log",))
def logs_the_last(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Logs the loss of the last step for the mean of them all."""
    return lambda steps: sound(steps[-1:])


@planted(
    "reference_trainers.report.record.Record.log_to_tensorboard",
    caught_by=("results.events",),
)
def opens_no_board(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts report_to and ignores it."""
    return lambda record, folder: None


@planted(
    "reference_trainers.models.source.ModelSource.save_settings",
    caught_by=("results.checkpoint",),
)
def saves_weights_alone(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves config and tokenizer out of a checkpoint."""

    def save_settings(source: Any, folder: Path) -> None:
        if "checkpoint-" not in folder.name:
            sound(source, folder)

    return save_settings


@planted("reference_trainers.report.card.results", caught_by=("results.card",))
def writes_a_card_without_results(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Its card is that of a model that was never judged."""
    return lambda spec, report: iter(())
