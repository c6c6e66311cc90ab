"""A floor does the work of a trainer: the same losses, update by update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fixtures.models import tiny_t5
from reference_trainers import (
    Batch,
    GlobalBatch,
    InputError,
    SharedTrainer,
    TrainingSpec,
    find_trainer,
    load_model,
)
from tests.leaves.t5_oracle import filled, random_batch

# `torch.compile` would take a minute
FLOORS = [("accelerate", "eager"), ("flax", "compiled"), ("tensorflow", "compiled")]
ROWS, UPDATES = 4, 5


@pytest.fixture
def spec(tmp_path) -> TrainingSpec:
    folder = tiny_t5(tmp_path, dropout_rate=0.0)
    return TrainingSpec(
        model_name_or_path=str(folder), use_cpu=True, do_train=True, learning_rate=1e-3
    )


def trainer_of(name: str) -> SharedTrainer:
    try:
        trainer = find_trainer(name)
    except InputError as error:
        pytest.skip(f"not run: {error}")
    assert isinstance(trainer, SharedTrainer)
    return trainer


def global_batch(step: int) -> GlobalBatch:
    """One micro-batch of ragged rows."""
    batch: Batch = filled(random_batch(ROWS, 12, 7, step), ROWS, 12, 7, seed=step)
    ids = np.arange(ROWS)
    return GlobalBatch(step, ids, (batch,), batch.target_tokens, ROWS)


@pytest.mark.parametrize(("name", "floor"), FLOORS)
def test_a_bare_step_makes_the_updates_of_its_trainer(name, floor, spec):
    trainer, source = trainer_of(name), load_model(spec)
    backend = trainer.backend_class().load(spec, source)
    module = trainer.floor_module()
    assert module is not None
    step = module.STEPS[floor](spec, source)
    batches = [*map(global_batch, range(UPDATES))]
    wanted = [float(backend.train_step(b, spec.learning_rate).loss) for b in batches]
    assert [float(step(b)) for b in batches] == pytest.approx(wanted, rel=1e-4)
    assert step.compilations == (0 if floor == "eager" else 1)


@pytest.mark.parametrize("name", ["pytorch", "flax", "tensorflow"])
def test_a_product_of_ones_is_its_size(name, spec):
    module = trainer_of(name).floor_module()
    assert module is not None
    product: Any = module.matmul(spec, 64)()
    assert np.ravel(product)[0] == 64


def test_a_trainer_need_not_name_a_floor():
    from fixtures.numpy_backend import TRAINER

    assert TRAINER.floor_module() is None
