"""Laws of resuming in another trainer: a checkpoint belongs to no framework."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import ALL
from conformance.runs import MakeRuns, Runs
from conformance.tolerances import SHORT
from reference_trainers import listed

HALF, STEPS = 10, 20
NAMES = [found.name for found in listed()]
FLAGS: dict[str, Any] = {
    "max_steps": STEPS,
    "save_strategy": "steps",
    "save_steps": HALF,
    "gradient_accumulation_steps": 2,
    "per_device_train_batch_size": 2,
    "weight_decay": 0.01,
    "warmup_steps": 4,
}


def is_far(second: str, first: str) -> bool:
    """Of our own, each always reads what itself and its neighbour wrote: one format."""
    own = second in NAMES
    return own and (NAMES.index(second) - NAMES.index(first)) % len(NAMES) > 1


@law("handover.any-to-any", profiles=ALL, always=("cpu-float64",))
@pytest.mark.parametrize("first", NAMES)
def test_any_trainer_resumes_any_other(
    run: Runs, runs_of: MakeRuns, first: str, request: pytest.FixtureRequest
) -> None:
    """Ten steps in one trainer and ten in another are twenty steps in the first."""
    asked = "handover.any-to-any" in (request.config.getoption("--law") or ())
    if not asked and is_far(run.subject.text, first):
        pytest.skip("not run: all pairs run with --law handover.any-to-any")
    whole = runs_of(first)(**FLAGS)
    checkpoint = str(whole.folder / f"checkpoint-{HALF}")
    made = run(**FLAGS, resume_from_checkpoint=checkpoint)
    assert made.report.resumed_at == HALF
    assert made.steps[:HALF] == whole.steps[:HALF]
    assert_same_steps(made.steps, whole.steps, SHORT, run.profile.precision)
