"""Comparing the numbers of two runs, with a message for the author of a trainer."""

from __future__ import annotations

from collections.abc import Sequence

from reference_trainers.results import StepRecord

# A difference in the first explains those after it, so it is what the message names
QUANTITIES = ("row_ids", "learning_rate", "target_tokens", "loss", "grad_norm")
HINTS = {
    "row_ids": "look at the order of rows and at how a step's rows are chosen",
    "learning_rate": "look at the schedule, its warm-up and the number of steps",
    "target_tokens": "look at truncation and at which labels count",
    "loss": "rows and learning rates agree: look at how micro-batches are averaged",
    "grad_norm": "losses agree: look at what the gradient is divided by",
}


def assert_same_steps(
    steps: Sequence[StepRecord],
    expected: Sequence[StepRecord],
    *,
    loss: float,
    grad_norm: float,
) -> None:
    """Every step agrees: rows and tokens exactly, numbers within these relatives."""
    assert len(steps) == len(expected), (
        f"{len(steps)} steps, expected {len(expected)}: look at the number of steps"
    )
    allowed = {"loss": loss, "grad_norm": grad_norm, "learning_rate": 1e-12}
    for step, other in zip(steps, expected, strict=True):
        for name in QUANTITIES:
            found, wanted = getattr(step, name), getattr(other, name)
            if name not in allowed:
                assert found == wanted, (
                    f"step {step.step}: {name} {found}, expected {wanted}; "
                    f"{HINTS[name]}"
                )
                continue
            off = abs(found - wanted) / max(abs(wanted), 1e-30)
            assert off <= allowed[name], (
                f"step {step.step}: {name} {found:.10g}, expected {wanted:.10g} "
                f"(off by {off:.1e} of it, allowed {allowed[name]:.0e}); {HINTS[name]}"
            )
