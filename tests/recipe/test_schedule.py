"""Steps, learning rates and decay, against transformers' own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from fixtures.models import tiny_bart, tiny_t5
from reference_trainers.recipe.decay import decays
from reference_trainers.recipe.plan import Padding, plan_of
from reference_trainers.recipe.schedule import (
    FACTORS,
    interval_of,
    learning_rate,
    total_steps,
    warmup_of,
)
from reference_trainers.spec import TrainingSpec

PADDING = Padding(pad_token_id=0, decoder_start_token_id=0)
# rows, batch, accumulation, epochs, max_steps, warm-up -> steps, steps of warm-up
TABLE = [
    ((10, 4, 1, 1.0, -1, 0), (3, 0)),
    ((10, 4, 1, 3.0, -1, 0), (9, 0)),
    ((10, 4, 1, 2.5, -1, 2), (8, 2)),
    ((10, 2, 2, 2.5, -1, 0.25), (8, 2)),
    ((10, 2, 3, 2.5, -1, 0.1), (5, 1)),
    ((7, 2, 3, 1.0, -1, 1), (2, 1)),
    ((3, 8, 1, 3.0, -1, 0), (3, 0)),  # fewer rows than a batch
    ((3, 8, 4, 2.5, -1, 0.5), (3, 2)),
    ((1, 1, 1, 0.1, -1, 0), (1, 0)),
    ((100, 8, 2, 3.0, 5, 0), (5, 0)),  # max_steps wins, below the epochs
    ((4, 8, 1, 1.0, 50, 10), (50, 10)),  # and above them
    ((4, 8, 1, 1.0, 5, 10), (5, 10)),  # a warm-up longer than the run
    ((287_113, 4, 1, 3.0, -1, 500), (215_337, 500)),  # cnn_dailymail
]
columns = pytest.mark.parametrize(("given", "expected"), TABLE)


def spec_of(given, **flags):
    _, batch, accumulation, epochs, max_steps, warmup = given
    return TrainingSpec(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=max_steps,
        warmup_steps=warmup,
        **flags,
    )


@columns
def test_steps_of_a_run(given, expected):
    plan = plan_of(spec_of(given), given[0], 1, PADDING)
    assert (plan.total_steps, plan.warmup_steps) == expected


@columns
def test_steps_are_those_of_transformers(given, expected):
    pytest.importorskip("torch", reason="not run: transformers' Trainer needs torch")
    from transformers import Trainer

    rows, batch, accumulation, epochs, max_steps, _ = given
    arguments = SimpleNamespace(
        max_steps=max_steps,
        num_train_epochs=epochs,
        gradient_accumulation_steps=accumulation,
    )
    trainer = SimpleNamespace(
        get_total_train_batch_size=lambda _: batch * accumulation,
        get_sp_size=lambda: 1,
        num_examples=lambda _: rows,
    )
    micro_batches = range(-(-rows // batch))  # all that the Trainer asks is its length
    values = Trainer.set_initial_training_values(trainer, arguments, micro_batches)
    assert values[-1] == expected[0]


@pytest.mark.parametrize("kind", FACTORS)
@columns
def test_rates_are_those_of_transformers(given, expected, kind):
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import get_scheduler

    steps, warmup = expected
    plan = plan_of(spec_of(given, lr_scheduler_type=kind), given[0], 1, PADDING)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    theirs = get_scheduler(kind, optimizer, warmup, steps)
    for step in range(min(steps, 200)):
        rate = optimizer.param_groups[0]["lr"]
        assert plan.learning_rate(step) == pytest.approx(rate, rel=1e-12, abs=1e-30)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("kind", FACTORS)
def test_rates_of_late_steps_are_those_of_transformers(kind):
    torch = pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import get_scheduler

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    (factor,) = get_scheduler(kind, optimizer, 500, 215_337).lr_lambdas
    for step in (0, 499, 500, 501, 100_000, 215_335, 215_336):
        rate = learning_rate(step, 1.0, kind, 500, 215_337)
        assert rate == pytest.approx(factor(step), rel=1e-12), step


def test_devices_count_as_a_larger_batch():
    spec = spec_of((100, 2, 3, 2.5, -1, 0))
    assert plan_of(spec, 100, 4, PADDING).total_steps == total_steps(100, 24, 2.5, -1)
    assert plan_of(spec, 100, 4, PADDING).micro_batch == 8


@pytest.mark.parametrize(
    ("steps", "ratio", "expected"),
    [(0, 0.1, 10), (0.2, 0.1, 20), (3, 0.1, 3), (0, 0, 0), (1, 0, 1), (0, 0.001, 1)],
)
def test_warmup_steps_win_over_the_ratio(steps, ratio, expected):
    assert (
        warmup_of(TrainingSpec(warmup_steps=steps, warmup_ratio=ratio), 100) == expected
    )


@pytest.mark.parametrize(
    ("given", "expected"), [(0.25, 25), (0.001, 1), (1, 1), (500, 500), (0.333, 34)]
)
def test_an_interval_below_one_is_a_share(given, expected):
    assert interval_of(given, 100) == expected


@pytest.mark.parametrize(
    ("flags", "due"),
    [
        ({"eval_strategy": "steps", "eval_steps": 4}, [3, 7, 8]),
        ({"eval_strategy": "steps", "logging_steps": 3}, [2, 5, 8]),
        ({"eval_strategy": "epoch"}, [2, 5, 8]),
        ({"eval_strategy": "no"}, []),
        ({"eval_strategy": "steps", "eval_steps": 0.5}, [4, 8]),
    ],
)
def test_when_a_run_evaluates(flags, due):
    plan = plan_of(spec_of((10, 4, 1, 3.0, -1, 0), **flags), 10, 1, PADDING)
    assert [step for step in range(9) if plan.evaluates_after(step)] == due


def test_epochs_that_are_done():
    plan = plan_of(spec_of((10, 4, 1, 3.0, -1, 0)), 10, 1, PADDING)
    assert [plan.epoch_at(step) for step in (0, 3, 9)] == [0, 1, 3]


@pytest.mark.parametrize("make", [tiny_t5, tiny_bart])
def test_decay_is_that_of_transformers(make, tmp_path):
    pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import AutoModelForSeq2SeqLM, Trainer

    model = AutoModelForSeq2SeqLM.from_pretrained(make(tmp_path))
    names = {name for name, _ in model.named_parameters()}  # a tied weight once
    theirs = names & set(Trainer.get_decay_parameter_names(None, model))
    assert {name for name in names if decays(name)} == theirs
    assert theirs and names - theirs


def test_norms_and_biases_of_a_file_do_not_decay(tmp_path):
    weights = load_file(tiny_t5(tmp_path) / "model.safetensors")
    kept = {name for name in weights if not decays(name)}
    assert kept == {
        name for name, w in weights.items() if w.ndim == 1 or "attention_bias" in name
    }
    assert not any(np.any(weights[name] == 0) for name in kept if "norm" in name)
