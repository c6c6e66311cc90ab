"""What the laws of resuming, of damage and of kills share."""

from __future__ import annotations

from dataclasses import replace
from filecmp import cmp
from pathlib import Path
from typing import Any

from conformance.runs import Finished, Runs
from reference_trainers import StepRecord

STEPS = 10  # two epochs of five: 18 rows in global batches of 4, the last one short
MOMENTS = "optimizer.safetensors"
WEIGHTS = "model.safetensors"


def flags(run: Runs) -> dict[str, Any]:
    """With dropout, accumulation, warm-up, and a checkpoint of every step."""
    return {
        "model_name_or_path": str(run.inputs.dropout_model),
        "max_train_samples": 18,
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "warmup_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
    }


def again(run: Runs, folder: Path, **changed: Any) -> Finished:
    """The same command once more, into `folder`."""
    return run.into(folder, **flags(run) | changed)


def assert_resumed(made: Finished, whole: Finished, step: int) -> None:
    """Every number and every byte is that of the whole run, from its first step on."""
    assert made.report.resumed_at == step
    assert untimed(made.steps) == untimed(whole.steps)
    states = (run.json("trainer_state.json") for run in (made, whole))
    first, second = (state | {"save_steps": None} for state in states)
    assert first == second, "trainer_state.json differs"
    for name in ("train_loss", "epoch", "train_samples"):
        assert made.report.metrics[name] == whole.report.metrics[name], name
    assert_same_state(made, whole, whole.steps[-1].step + 1)


def untimed(steps: list[StepRecord]) -> list[StepRecord]:
    """Without what an interruption may change: seconds, and what had to be compiled."""
    return [replace(step, seconds=0.0, compiled=False) for step in steps]


def assert_same_state(made: Finished, whole: Finished, step: int) -> None:
    """Both runs' checkpoints of `step` hold the same weights and moments."""
    for name in (WEIGHTS, MOMENTS):
        last = f"checkpoint-{step}/{name}"
        same = cmp(made.folder / last, whole.folder / last, shallow=False)
        assert same, f"{last} differs: look at what a checkpoint leaves out"
