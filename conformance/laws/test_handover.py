"""Laws of resuming in another trainer: a checkpoint belongs to no framework."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import pytest

from conformance.differences import assert_same_steps
from conformance.runs import Finished, MakeRuns, Runs
from fixtures.float64_t5 import float64_t5
from reference_trainers.registry import listed

HALF, STEPS = 10, 20
# The envelope of fp32: what two frameworks' rounding makes of ten updates
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
NAMES = [found.name for found in listed()]


@pytest.fixture(params=TOLERANCE)
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    lifted = request.param == "float64" and find_spec("torch")
    with float64_t5() if lifted else nullcontext():
        yield request.param


@pytest.mark.parametrize("first", NAMES)
def test_any_trainer_goes_on_from_any_other(
    run: Runs, runs_of: MakeRuns, first: str, dtype: str
) -> None:
    """Ten steps in one trainer and ten in another are twenty steps in the first."""
    whole = twenty_steps(runs_of(first), dtype)
    made = run(
        **flags(run, dtype),
        resume_from_checkpoint=str(whole.folder / f"checkpoint-{HALF}"),
    )
    assert made.report.resumed_at == HALF
    tolerance = TOLERANCE[dtype]
    assert_same_steps(
        made.steps, whole.steps[HALF:], loss=tolerance, grad_norm=100 * tolerance
    )


def twenty_steps(run: Runs, dtype: str) -> Finished:
    return run(**flags(run, dtype))


def flags(run: Runs, dtype: str) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "max_steps": STEPS,
        "save_strategy": "steps",
        "save_steps": HALF,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 2,
        "weight_decay": 0.01,
        "warmup_steps": 4,
    }
