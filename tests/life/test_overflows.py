"""The life of a run in fp16, whose gradient may overflow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures import numpy_backend
from fixtures.numpy_backend import NumpyBackend
from reference_trainers import Batch, InputError, LossScale, RunReport, read_checkpoint
from tests.life.runs import Inputs, Life

FP16 = {"fp16": True, "max_steps": 12, "save_steps": 2}


@pytest.fixture(autouse=True)
def large_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run begins with a scale at which every gradient overflows for some steps."""
    monkeypatch.setattr(numpy_backend, "LossScale", lambda: LossScale(2.0**24))


def scale_of(folder: Path, step: int) -> LossScale | None:
    return read_checkpoint(folder / f"checkpoint-{step}")[2].loss_scale


def test_a_step_that_overflowed_is_told_and_counts_for_no_rate(life: Life) -> None:
    report = life.run(**FP16)
    applied = [step.applied for step in report.steps]
    assert applied == sorted(applied)  # overflows first
    overflows = applied.count(False)
    assert 2 < overflows < 10
    rates = [step.learning_rate for step in report.steps]
    assert rates[: overflows + 1] == [rates[0]] * (overflows + 1)
    assert rates[overflows + 1] < rates[0]
    state, _, manifest = read_checkpoint(life.folder / "checkpoint-12")
    assert (manifest.step, state.updates) == (12, 12 - overflows)
    assert manifest.loss_scale == LossScale(2.0 ** (24 - overflows), 12 - overflows)


def test_what_is_not_a_number_is_null_in_the_files(life: Life) -> None:
    life.run(**FP16, logging_steps=1)
    report = RunReport.read(life.folder)
    assert math.isinf(report.steps[0].grad_norm)
    assert math.isfinite(report.metrics["train_loss"])
    for name in ("run_report.json", "trainer_state.json", "checkpoint-2/steps.json"):
        content = json.loads((life.folder / name).read_text(), parse_constant=refuse)
        steps = content.get("steps") or content["log_history"]
        assert steps[0]["grad_norm"] is None, name


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_resumed_run_is_the_whole_run(
    life: Life, inputs: Inputs, tmp_path: Path, step: int
) -> None:
    whole = life.run(**FP16)
    again = Life(inputs, tmp_path / "again")
    source = str(life.folder / f"checkpoint-{step}")
    resumed = again.run(**FP16, resume_from_checkpoint=source)
    for one, other in zip(whole.steps, resumed.steps, strict=True):
        assert (one.applied, one.learning_rate) == (other.applied, other.learning_rate)
    assert scale_of(life.folder, 12) == scale_of(again.folder, 12)
    names = ("model.safetensors", "checkpoint-12/optimizer.safetensors")
    for name in names:
        same = (life.folder / name).read_bytes() == (again.folder / name).read_bytes()
        assert same, name


def test_a_scale_that_is_of_no_use_ends_the_run(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = NumpyBackend.loss_and_gradient

    def never_finite(backend: NumpyBackend, batch: Batch) -> Any:
        loss, gradient = right(backend, batch)
        return loss, gradient * np.inf

    monkeypatch.setattr(NumpyBackend, "loss_and_gradient", never_finite)
    with pytest.raises(InputError, match=r"^--fp16: .* at every loss scale"):
        life.run(**FP16 | {"max_steps": 40})
    assert (life.folder / "checkpoint-24").is_dir()
