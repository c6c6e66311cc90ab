"""The one search for the first difference of two runs: for laws, traces and `compare`.

What is missing on one side, and what is no number, differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conformance.tolerances import EXACT, QUANTITIES, Tolerance, allowed

HINTS = {
    "step": "look at the number of steps",
    "row_ids": "look at the order of rows and at how a step's rows are chosen",
    "learning_rate": "row ids agree: look at the schedule, its warm-up and its length",
    "target_tokens": "row ids and learning rates agree: look at truncation and at "
    "which labels count",
    "loss": "row ids and learning rates agree: look at how micro-batches are averaged",
    "grad_norm": "losses agree: look at what the gradient is divided by",
}


class Step(Protocol):
    """One step of a run, with the quantities that are compared as attributes."""

    @property
    def step(self) -> int: ...


@dataclass(frozen=True)
class Difference:
    """The first quantity of a step that two runs do not agree on."""

    step: int
    quantity: str
    found: Any
    expected: Any
    allowed: Tolerance = EXACT

    def __str__(self) -> str:
        """For the author of a trainer: where, what, by how much, and where to look."""
        name = QUANTITIES.get(self.quantity, self.quantity)
        where = f"step {self.step}: {name} {_short(self.found)}"
        hint = HINTS.get(self.quantity, "")
        off = ""
        if isinstance(self.found, float) and isinstance(self.expected, float):
            gap = distance(self.found, self.expected)
            share = gap / max(abs(self.expected), 1e-30)
            off = f" (off by {gap:.1e}, {share:.1e} of it, allowed {self.allowed})"
        return f"{where}, expected {_short(self.expected)}{off}; {hint}"


def first_difference(
    found: Iterable[Step],
    expected: Iterable[Step],
    tolerances: Mapping[str, Tolerance],
    quantities: Iterable[str] = QUANTITIES,
) -> Difference | None:
    """The first step, and its first quantity, beyond tolerance; None: they agree."""
    ours = {step.step: step for step in found}
    theirs = {step.step: step for step in expected}
    for number in sorted(ours.keys() | theirs.keys()):
        if number not in ours or number not in theirs:
            return Difference(
                number, "step", _taken(number, ours), _taken(number, theirs)
            )
        for quantity in quantities:
            a = getattr(ours[number], quantity)
            b = getattr(theirs[number], quantity)
            tolerance = tolerances.get(quantity, EXACT)
            same = a == b if tolerance == EXACT else tolerance.allows(a, b)
            if not same:
                return Difference(number, quantity, a, b, tolerance)
    return None


def assert_same_steps(
    found: Sequence[Step],
    expected: Sequence[Step],
    compared: str,
    precision: str,
    quantities: Iterable[str] = QUANTITIES,
) -> None:
    """Every step agrees, as far as what is compared and the precision allow."""
    assert expected, "nothing was compared: the expected run has no step"
    difference = first_difference(
        found, expected, allowed(compared, precision), quantities
    )
    assert difference is None, str(difference)


def distance(a: float, b: float) -> float:
    """|a - b|; infinite where either is NaN, which no comparison would notice."""
    if a == b:
        return 0.0
    gap = abs(a - b)
    return math.inf if math.isnan(gap) else gap


def _taken(step: int, steps: Mapping[int, Step]) -> str:
    return "taken" if step in steps else "not taken"


def _short(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
