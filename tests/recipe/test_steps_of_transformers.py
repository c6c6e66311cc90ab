"""A run evaluates, saves and takes as best what transformers' Seq2SeqTrainer does.

    pytest tests/recipe/test_steps_of_transformers.py -m "slow or not slow"

tries runs of five lengths; a plain `pytest` of one.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reference_trainers.errors import InputError
from reference_trainers.loop import after_update
from reference_trainers.protocols import Update
from reference_trainers.recipe.plan import Padding, plan_of
from reference_trainers.report.record import Record
from reference_trainers.spec import TrainingSpec

torch: Any = pytest.importorskip("torch", reason="not run: Seq2SeqTrainer needs torch")

ROWS = 10
BATCH: dict[str, Any] = {"per_device_train_batch_size": 4, "logging_steps": 2}
LENGTHS: list[Any] = [
    {"num_train_epochs": 1.5},  # five steps: an epoch of three, and one cut short
    *(
        pytest.param(length, marks=pytest.mark.slow)
        for length in (
            {"num_train_epochs": 1.0},
            {"num_train_epochs": 3.0},
            {"max_steps": 2},
            {"max_steps": 7},
        )
    ),
]
EVALUATES: list[dict[str, Any]] = [
    {"eval_strategy": "no"},
    {"eval_strategy": "epoch"},
    {"eval_strategy": "steps"},  # every logging_steps
    {"eval_strategy": "steps", "eval_steps": 3},
    {"eval_strategy": "steps", "eval_steps": 0.3},
]
SAVES: list[dict[str, Any]] = [
    {"save_strategy": "no"},
    {"save_strategy": "epoch"},
    {"save_strategy": "steps", "save_steps": 2},
    {"save_strategy": "steps", "save_steps": 0.6},
]
BEST: list[dict[str, Any]] = [
    {"eval_strategy": "epoch", "save_strategy": "epoch"},
    {"eval_strategy": "steps", "eval_steps": 1, "save_steps": 1},
    {"eval_strategy": "steps", "eval_steps": 2, "save_steps": 4},
    {"eval_strategy": "steps", "eval_steps": 0.3, "save_steps": 0.6},
]


def eval_loss(step: int) -> float:
    """Best neither first nor last: 3, 1, 4, 2, 0 and so on."""
    return float(step * 3 % 5)


def ours(flags: dict[str, Any], folder: Path) -> SimpleNamespace:
    """Steps after which the shared loop evaluates and saves, and the best of them."""
    spec = TrainingSpec(**BATCH, **flags, disable_tqdm=True)
    plan = plan_of(spec, ROWS, 1, Padding(0, 0))
    record = Record(plan, spec, folder)
    seen = SimpleNamespace(evaluated=[], saved=[], best=None)

    def evaluate() -> None:
        seen.evaluated.append(record.next_step)
        record.log_metrics({"eval_loss": eval_loss(record.next_step)})

    hooks: Any = SimpleNamespace(
        record=record.add,
        log=lambda: None,
        evaluate=evaluate,
        save=lambda: seen.saved.append(record.next_step),
        stop=None,
    )
    for step in range(plan.total_steps):
        batch: Any = SimpleNamespace(step=step, row_ids=np.array([0]), target_tokens=1)
        after_update(plan, hooks, batch, Update(1.0, 1.0), 0.0)
    seen.best = record.best_step
    return seen


def theirs(flags: dict[str, Any], folder: Path) -> SimpleNamespace:
    """The same of transformers' Seq2SeqTrainer."""
    from transformers import (
        Seq2SeqTrainer,
        Seq2SeqTrainingArguments,
        TrainerCallback,
    )

    seen = SimpleNamespace(evaluated=[], saved=[], best=None)

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, labels: Any) -> dict[str, Any]:
            return {"loss": (self.weight * labels).mean()}

    class Saves(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            seen.saved.append(state.global_step)

    class Trainer(Seq2SeqTrainer):
        control: Any

        def evaluate(self, *given: Any, **more: Any) -> dict[str, float]:
            seen.evaluated.append(self.state.global_step)
            metrics = {"eval_loss": eval_loss(self.state.global_step)}
            self.control = self.callback_handler.on_evaluate(
                self.args, self.state, self.control, metrics
            )
            return metrics

    arguments = Seq2SeqTrainingArguments(
        str(folder), use_cpu=True, report_to="none", disable_tqdm=True, **BATCH, **flags
    )
    rows: Any = [{"labels": torch.ones(1)}] * ROWS
    trainer = Trainer(
        Line(), arguments, train_dataset=rows, eval_dataset=rows, callbacks=[Saves()]
    )
    trainer.train()
    if trainer.state.best_model_checkpoint:
        seen.best = int(trainer.state.best_model_checkpoint.rpartition("-")[2])
    return seen


@pytest.mark.parametrize("length", LENGTHS, ids=str)
@pytest.mark.parametrize("saves", SAVES, ids=str)
@pytest.mark.parametrize("evaluates", EVALUATES, ids=str)
def test_steps(
    length: dict[str, Any],
    saves: dict[str, Any],
    evaluates: dict[str, Any],
    tmp_path: Path,
) -> None:
    flags = length | saves | evaluates
    found, wanted = ours(flags, tmp_path / "ours"), theirs(flags, tmp_path / "theirs")
    assert found.evaluated == wanted.evaluated
    assert found.saved == wanted.saved


@pytest.mark.parametrize("length", LENGTHS, ids=str)
@pytest.mark.parametrize("strategies", BEST, ids=str)
def test_the_best(
    length: dict[str, Any], strategies: dict[str, Any], tmp_path: Path
) -> None:
    flags = length | strategies | {"load_best_model_at_end": True}
    wanted = theirs(flags, tmp_path / "theirs")
    if not {*wanted.saved[:-1]} <= {*wanted.evaluated}:
        # Theirs trains on and may take none for the best: ours refuses at the start
        with pytest.raises(InputError, match="needs one wherever it saves"):
            ours(flags, tmp_path / "ours")
        return
    found = ours(flags, tmp_path / "ours")
    assert found.evaluated == wanted.evaluated
    assert found.saved == wanted.saved
    assert found.best == min(found.saved, key=eval_loss)
    if min(found.evaluated, key=eval_loss) in found.saved:
        assert wanted.best == found.best
    else:  # theirs has no checkpoint of the best evaluation, and ends with the last
        assert wanted.best is None
