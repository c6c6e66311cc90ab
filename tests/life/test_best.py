"""Which checkpoint is best, and what is published when it is gone."""

from __future__ import annotations

import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import Batch, InputError, TrainingStopped
from reference_trainers.checkpoints import write
from reference_trainers.checkpoints.write import CheckpointWriteFailed
from tests.life.runs import FIRST_IS_BEST, Life


def weights(life: Life, step: int | None = None) -> bytes:
    folder = life.folder if step is None else life.folder / f"checkpoint-{step}"
    return (folder / "model.safetensors").read_bytes()


def test_the_best_of_another_folder_is_found_there(life: Life) -> None:
    life.run(**FIRST_IS_BEST)
    elsewhere = Life(life.inputs, life.folder.with_name("elsewhere"))
    source = f"{life.folder}/checkpoint-4"
    report = elsewhere.run(**FIRST_IS_BEST, resume_from_checkpoint=source)
    assert report.model_step == 2
    assert weights(elsewhere) == weights(life, 2)


def test_the_best_is_kept_when_newer_checkpoints_are_replaced(life: Life) -> None:
    life.run(**FIRST_IS_BEST)
    source = f"{life.folder}/checkpoint-4"
    named: dict[str, Any] = {"resume_from_checkpoint": source}
    report = life.run(**FIRST_IS_BEST, **named, overwrite_output_dir=True)
    assert report.model_step == 2
    assert weights(life) == weights(life, 2)


@pytest.mark.parametrize("gone", ["removed", "damaged"])
def test_a_best_that_is_gone_at_the_start_is_forgotten(life: Life, gone: str) -> None:
    life.killed(when="checkpoint-6", **FIRST_IS_BEST)
    if gone == "removed":
        shutil.rmtree(life.folder / "checkpoint-2")
    else:
        os.truncate(life.folder / "checkpoint-2" / "model.safetensors", 9)
    report = life.run(**FIRST_IS_BEST)
    assert report.model_step == 6, "the best of those that were evaluated since"
    assert any("checkpoint-2, the best so far, is gone" in w for w in report.warnings)
    assert weights(life) == weights(life, 6)


def test_a_best_that_is_gone_at_the_end_costs_a_warning(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference_trainers.checkpoints import hooks

    found = hooks.restore_best

    def removed(backend: Any, group: Any, record: Any, saver: Any) -> int:
        shutil.rmtree(life.folder / "checkpoint-2")
        return found(backend, group, record, saver)

    monkeypatch.setattr("reference_trainers.life.run.restore_best", removed)
    report = life.run(**FIRST_IS_BEST, do_eval=True)
    assert report.model_step == 6
    assert any("It was the best" in warning for warning in report.warnings)
    assert weights(life) == weights(life, 6)
    assert report.metrics["eval_loss"] == report.evaluations[-1]["eval_loss"]


def test_a_checkpoint_that_could_not_be_saved_is_not_the_best(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses(monkeypatch, "checkpoint-2")
    report = life.run(**FIRST_IS_BEST)
    assert report.model_step == 4, "the best of those that were saved"
    assert weights(life) == weights(life, 4)
    assert life.json("trainer_state.json")["best_global_step"] == 4
    assert any("checkpoint-2 could not be written" in w for w in report.warnings)


def test_a_stop_never_saves_the_best_as_the_last(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the final evaluation the best's weights are held, not those of the step."""
    refuses(monkeypatch, "checkpoint-6")
    real, calls = NumpyBackend.evaluate, iter(range(1, 100))

    def evaluate(self: NumpyBackend, batch: Batch) -> Any:
        if next(calls) == 7:  # two batches at each of the steps 2, 4 and 6
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch)

    with monkeypatch.context() as patch, pytest.raises(TrainingStopped):
        patch.setattr(NumpyBackend, "evaluate", evaluate)
        life.run(**FIRST_IS_BEST, do_eval=True)
    monkeypatch.undo()
    saved = {path.name for path in life.folder.glob("checkpoint-*")}
    assert saved == {"checkpoint-2", "checkpoint-4"}
    report = life.run(**FIRST_IS_BEST, do_eval=True)
    assert (report.resumed_at, report.model_step) == (4, 2)


def refuses(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The disk is full when the checkpoint of this name is written."""
    real = write.write_checkpoint

    def full(folder: Path, *given: Any, **more: Any) -> Any:
        if folder.name == name:
            raise CheckpointWriteFailed(f"{folder} could not be written: disk full.")
        return real(folder, *given, **more)

    monkeypatch.setattr(write, "write_checkpoint", full)


@pytest.mark.parametrize(
    ("flags", "matches"),
    [
        ({"eval_steps": 0.1, "save_steps": 0.5}, True),
        ({"eval_steps": 0.2, "save_steps": 0.6}, True),
        ({"eval_steps": 0.5, "save_steps": 3, "max_steps": 7}, False),
        ({"eval_steps": 0.2, "save_steps": 0.4, "max_steps": 7}, False),
        ({"eval_steps": 2, "save_steps": 3}, False),
    ],
)
def test_checkpoints_that_can_be_best_are_found_from_whole_steps(
    life: Life, flags: dict[str, Any], matches: bool
) -> None:
    flags = FIRST_IS_BEST | {"max_steps": 10} | flags
    if matches:
        assert life.run(**flags).model_step in range(1, 11)
        return
    with pytest.raises(InputError, match="--save_steps"):
        life.run(**flags)
    assert not life.folder.exists()


@pytest.mark.parametrize("name", ["rogue1", "eval_rouge3", "accuracy"])
def test_an_unknown_metric_is_refused_at_the_start(life: Life, name: str) -> None:
    with pytest.raises(InputError, match=f"--metric_for_best_model {name}"):
        life.run(**FIRST_IS_BEST, metric_for_best_model=name)
    assert not life.folder.exists()


@pytest.mark.parametrize(
    ("flags", "evaluated"),
    [
        ({"num_train_epochs": 1.5, "max_steps": -1}, [3, 5]),
        ({"max_steps": 2}, [2]),
        ({"max_steps": 3}, [3]),
        ({"max_steps": 7}, [3, 6, 7]),
    ],
)
def test_an_epoch_that_is_cut_short_ends(
    life: Life, flags: dict[str, Any], evaluated: list[int]
) -> None:
    """It evaluates and saves there, as transformers' Trainer does."""
    by_epoch = {"eval_strategy": "epoch", "save_strategy": "epoch"}
    report = life.run(**by_epoch, **flags)
    assert [found["step"] for found in report.evaluations] == evaluated
    saved = sorted(int(p.name[11:]) for p in life.folder.glob("checkpoint-*"))
    assert saved == evaluated


def test_a_loss_that_is_not_finite_is_left_out_and_never_best(
    life: Life, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real, calls = NumpyBackend.evaluate, iter(range(100))

    def evaluate(self: NumpyBackend, batch: Batch) -> tuple[float, int]:
        loss, tokens = real(self, batch)
        return (math.nan if next(calls) == 0 else loss), tokens

    monkeypatch.setattr(NumpyBackend, "evaluate", evaluate)
    report = life.run(**FIRST_IS_BEST)
    assert report.evaluations[0]["eval_loss"] is None
    assert report.model_step == 4, "the best of the others"
    assert "eval_loss is nan" in capfd.readouterr().err
    assert life.json("trainer_state.json")["log_history"][0]["eval_loss"] is None
