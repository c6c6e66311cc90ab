"""What may change at a resume is said and recorded; what makes the run may not."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import GlobalBatch, InputError, TrainingStopped, Update
from tests.life.runs import Life


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("label_smoothing_factor", 0.2, "label_smoothing_factor was 0.0 and is 0.2"),
        ("ignore_pad_token_for_loss", False, "was True and is False"),
        ("weight_decay", 0.3, "weight_decay was 0.0 and is 0.3"),
        ("adam_beta2", 0.9, "adam_beta2 was 0.999 and is 0.9"),
        ("dtype", "float64", "dtype was float32 and is float64"),
        ("bf16", True, "bf16 was False and is True"),
        ("fp16", True, "fp16 was False and is True"),
        ("seed", 7, "seed was 42 and is 7"),
    ],
)
def test_another_loss_optimizer_or_precision_is_refused(
    life: Life, flag: str, value: Any, said: str
) -> None:
    life.killed(when="checkpoint-4")
    before = {path.name for path in life.folder.iterdir()}
    with pytest.raises(InputError, match=f"{said}.*--model_name_or_path CHECKPOINT"):
        life.run(**{flag: value})
    assert {path.name for path in life.folder.iterdir()} - before == set()


def test_another_learning_rate_or_length_is_said_and_recorded(
    life: Life, capfd: pytest.CaptureFixture[str]
) -> None:
    life.killed(when="checkpoint-4")
    report = life.run(learning_rate=0.5, max_steps=6)
    changed = {"learning_rate": [0.01, 0.5], "max_steps": [4, 6]}
    assert report.changes == [{"step": 2, **changed}]
    said = capfd.readouterr().err
    assert "From step 2 on, learning_rate was 0.01 and is 0.5, max_steps was 4" in said
    assert len(report.steps) == 6


def test_a_change_is_not_forgotten_at_the_next_resume(life: Life) -> None:
    life.killed(when="checkpoint-4")
    life.killed(when="checkpoint-6", learning_rate=0.5, max_steps=6)
    report = life.run(learning_rate=0.5, max_steps=6)
    assert report.resumed_at == 4
    assert [change["step"] for change in report.changes] == [2]


def test_a_loss_that_is_not_finite_names_the_checkpoint_before_it(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = NumpyBackend.train_step

    def spoiled(self: NumpyBackend, batch: GlobalBatch, rate: float) -> Update:
        update = real(self, batch, rate)
        return Update(math.nan, 1.0) if batch.step == 2 else update

    monkeypatch.setattr(NumpyBackend, "train_step", spoiled)
    before = f"The checkpoint before it is {life.folder / 'checkpoint-2'}"
    with pytest.raises(InputError, match=f"step 2: the loss is nan.*{before}"):
        life.run()
    assert [path.name for path in life.folder.iterdir()] == ["checkpoint-2"]


def test_tensorboard_is_written_while_training_and_survives_a_stop(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    board: dict[str, Any] = {"report_to": "tensorboard", "logging_steps": 1}
    real = NumpyBackend.train_step

    def stopped(self: NumpyBackend, batch: GlobalBatch, rate: float) -> Update:
        if batch.step == 3:
            assert list((life.folder / "runs").iterdir()), "nothing to watch"
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch, rate)

    with monkeypatch.context() as patch, pytest.raises(TrainingStopped):
        patch.setattr(NumpyBackend, "train_step", stopped)
        life.run(**board, max_steps=6)
    (first,) = (life.folder / "runs").iterdir()
    assert b"train/loss" in first.read_bytes()
    report = life.run(**board, max_steps=6)
    events = {name for name in report.files if name.startswith("runs/")}
    assert len(events) == 2
    assert f"runs/{first.name}" in events, "a new run would not know it for its own"


def test_fewer_steps_than_there_are_is_an_error(life: Life) -> None:
    life.killed(when="checkpoint-6", max_steps=6)
    with pytest.raises(InputError, match="checkpoint-4 is beyond the 3 steps"):
        life.run(max_steps=3)
