"""What a first difference says to the author of a trainer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from conformance.catalogue import CHAPTERS
from conformance.differences import LEADS, Difference, first_difference
from conformance.tolerances import QUANTITIES, absolute, relative
from conformance.traces.trace import TracedStep

STEPS = [
    TracedStep(step, [2 * step, 2 * step + 1], 1e-3, 9, 4.5, 1.25) for step in (0, 1)
]


def difference(change: dict[str, Any], **allowed) -> Difference | None:
    changed = [STEPS[0], replace(STEPS[1], **change)]
    return first_difference(changed, STEPS, allowed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"row_ids": [3, 2, 7]},
            "step 1: row ids [3, 2, 7], expected [2, 3] (3 of 3 differ, allowed none)",
        ),
        (
            {"target_tokens": 11},
            "step 1: target tokens 11, expected 9 (off by 2, allowed exact)",
        ),
        (
            {"loss": 4.5009},
            "step 1: loss 4.5009, expected 4.5 (off by 9.0e-04, 2.0e-04 of it, "
            "allowed 1e-06 relative)",
        ),
        (
            {"grad_norm": math.nan},
            "step 1: gradient norm nan, expected 1.25 (off by inf, inf of it, "
            "allowed exact)",
        ),
    ],
)
def test_it_says_where_what_and_by_how_much(change, said):
    found = difference(change, loss=relative(1e-6))
    assert str(found).startswith(f"{said}; ")


def test_a_tolerance_may_go_by_the_step():
    changed = [replace(step, loss=4.6) for step in STEPS]
    found = first_difference(
        changed, STEPS, lambda step: {"loss": absolute(0.2 if step == 0 else 0.05)}
    )
    assert found is not None
    assert (found.step, found.quantity) == (1, "loss")


def test_a_missing_step_differs():
    found = first_difference(STEPS[:1], STEPS, {})
    assert str(found).startswith("step 1: step not taken, expected taken; ")


def test_every_quantity_leads_to_a_chapter():
    assert QUANTITIES.keys() <= LEADS.keys()
    assert {lead.chapter for lead in LEADS.values()} <= {*CHAPTERS}
