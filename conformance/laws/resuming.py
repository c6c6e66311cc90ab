"""What the laws of resuming, of damage and of kills share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.runs import Finished, Runs

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
    """From `step` on, every number and every byte is that of the whole run."""
    assert made.report.resumed_at == step
    rest = whole.steps[step:]
    assert made.row_ids == [past.row_ids for past in rest]
    assert [s.learning_rate for s in made.steps] == [s.learning_rate for s in rest]
    assert made.losses == [past.loss for past in rest]
    assert_same_state(made, whole, STEPS)


def assert_same_state(made: Finished, whole: Finished, step: int) -> None:
    """Both runs' checkpoints of `step` hold the same weights and moments."""
    for name in (WEIGHTS, MOMENTS):
        last = f"checkpoint-{step}/{name}"
        same = (made.folder / last).read_bytes() == (whole.folder / last).read_bytes()
        assert same, f"{last} differs: look at what a checkpoint leaves out"
