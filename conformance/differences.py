"""The one search for the first difference of two runs: for laws, traces and `compare`.

What is missing on one side, and what is no number, differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Protocol

from conformance.tolerances import EXACT, QUANTITIES, Tolerance, allowed


@dataclass(frozen=True)
class Lead:
    """Where to look first when a quantity is the first that differs."""

    chapter: str
    """Of the laws: those of it that fail, too, say more."""
    hint: str


LEADS = {
    "step": Lead("arithmetic", "look at the number of steps"),
    "row_ids": Lead(
        "order", "look at the order of rows and at how a step's rows are chosen"
    ),
    "learning_rate": Lead(
        "arithmetic", "row ids agree: look at the schedule, its warm-up and its length"
    ),
    "target_tokens": Lead(
        "truncation",
        "row ids and learning rates agree: look at truncation and at which labels "
        "count",
    ),
    "digest": Lead(
        "truncation",
        "look at the prefix, at where rows are cut, and at the tokenizer's files",
    ),
    "loss": Lead(
        "arithmetic",
        "row ids and learning rates agree: look at how micro-batches are averaged, at "
        "label smoothing, at the model, and at the update before",
    ),
    "grad_norm": Lead(
        "arithmetic",
        "losses agree: look at what the gradient is divided by, at whether the norm is "
        "taken before clipping, and at the update before",
    ),
    "weights": Lead(
        "arithmetic",
        "look at whether the optimizer has this parameter, at its decay, and at the "
        "moments",
    ),
    "predictions": Lead("generation", "the weights agree: look at the search"),
}
"""Of each quantity that is compared."""


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
    what: str = ""
    """Which of the quantity's numbers, in words: a parameter's norm, say."""

    @property
    def chapter(self) -> str:
        """Of the laws, where the fault is likely to be."""
        return LEADS[self.quantity].chapter

    def __str__(self) -> str:
        """For the author of a trainer: where, what, by how much, and where to look."""
        name = self.what or QUANTITIES.get(self.quantity, self.quantity)
        where = f"step {self.step}: {name} {_short(self.found)}"
        expected = f"expected {_short(self.expected)}{self._off()}"
        lead = LEADS[self.quantity]
        return f"{where}, {expected}; {lead.hint} (likely chapter: {lead.chapter})"

    def _off(self) -> str:
        """By how much, against how much is allowed."""
        a, b = self.found, self.expected
        if isinstance(a, list) and isinstance(b, list):
            others = sum(x != y for x, y in zip_longest(a, b))
            return f" ({others} of {max(len(a), len(b))} differ, allowed none)"
        if not all(isinstance(x, (int, float)) for x in (a, b)):
            return ""
        gap = distance(a, b)
        if isinstance(a, int) and isinstance(b, int):
            return f" (off by {gap:g}, allowed {self.allowed})"
        share = gap / max(abs(b), 1e-30)
        return f" (off by {gap:.1e}, {share:.1e} of it, allowed {self.allowed})"


Allowed = Mapping[str, Tolerance]


def first_difference(
    found: Iterable[Step],
    expected: Iterable[Step],
    tolerances: Allowed | Callable[[int], Allowed],
    quantities: Iterable[str] = QUANTITIES,
) -> Difference | None:
    """The first step, and its first quantity, beyond tolerance; None: they agree.

    `tolerances` are the same for all steps, or a function of the step.
    """
    ours = {step.step: step for step in found}
    theirs = {step.step: step for step in expected}
    for number in sorted(ours.keys() | theirs.keys()):
        here = tolerances(number) if callable(tolerances) else tolerances
        if number not in ours or number not in theirs:
            return Difference(
                number, "step", _taken(number, ours), _taken(number, theirs)
            )
        for quantity in quantities:
            a = getattr(ours[number], quantity)
            b = getattr(theirs[number], quantity)
            tolerance = here.get(quantity, EXACT)
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
