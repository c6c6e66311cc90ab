"""How far two runs may be apart: the one table, quantity by precision, with reasons.

Laws, traces and `compare` all read it. Which numbers hold goes by what is compared:
one trainer with itself (`RECUT`), two trainers over a short run (`SHORT`), or over a
run of any length (`LONG`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reference_trainers import TrainingSpec


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may be apart; whichever of the two allows more counts."""

    relative: float = 0.0
    absolute: float = 0.0

    def allows(self, a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=self.relative, abs_tol=self.absolute)

    def __str__(self) -> str:
        parts = [
            f"{value:g} {kind}"
            for value, kind in (
                (self.absolute, "absolute"),
                (self.relative, "relative"),
            )
            if value
        ]
        return " or ".join(parts) or "exact"


def relative(value: float) -> Tolerance:
    return Tolerance(relative=value)


def absolute(value: float) -> Tolerance:
    return Tolerance(absolute=value)


EXACT = Tolerance()
# Scores of equal predictions, summed in another order
SAME_SCORE = relative(1e-6)

# In the order in which a fault travels: the wrong rows spoil all that comes after.
QUANTITIES = {
    "row_ids": "row ids",
    "learning_rate": "learning rate",
    "target_tokens": "target tokens",
    "loss": "loss",
    "grad_norm": "gradient norm",
}

RECUT = "one trainer, the same rows cut or padded otherwise"
SHORT = "two trainers, up to a hundred steps of a tiny model"
LONG = "two trainers, a run of any length"

# Row ids and target tokens are counted: they are equal or wrong, in every row.
TABLE: dict[str, dict[str, dict[str, Tolerance]]] = {
    # A float64 sum in another order is off by some 1e-16 a term, a float32 one by 6e-8;
    # the gradient passes the model twice. bfloat16 keeps 8 bits: a product is off by up
    # to 4e-3, and a mean over some hundred tokens keeps about two digits.
    RECUT: {
        "float64": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-12),
            "grad_norm": relative(1e-11),
            "eval_loss": relative(1e-11),
        },
        "float32": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-6),
            "grad_norm": relative(1e-5),
            "eval_loss": relative(1e-6),
        },
        "half": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-2),
            "grad_norm": relative(1e-1),
            "eval_loss": relative(1e-2),
        },
    },
    # Every step starts from weights that the steps before rounded otherwise: Adam
    # divides by the root of a small second moment, which makes rounding grow.
    SHORT: {
        "float64": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-9),
            "grad_norm": relative(1e-8),
            "eval_loss": relative(1e-9),
            "weights": absolute(1e-8),
        },
        "float32": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-5),
            "grad_norm": relative(1e-4),
            "eval_loss": relative(1e-6),
        },
        "half": {
            "learning_rate": relative(1e-12),
            "loss": relative(1e-2),
            "grad_norm": relative(5e-2),
            "eval_loss": relative(1e-2),
        },
    },
    # A foreign trainer may hold the rate in float32, whose rounding is 6e-8. A loss in
    # float32 within 1e-4 over a whole run is the project's claim.
    LONG: {
        "float64": {
            "learning_rate": relative(1e-9),
            "loss": relative(1e-9),
            "grad_norm": relative(1e-8),
            "eval_loss": relative(1e-9),
        },
        "float32": {
            "learning_rate": relative(1e-6),
            "loss": absolute(1e-4),
            "grad_norm": relative(1e-3),
            "eval_loss": absolute(1e-4),
        },
        "half": {
            "learning_rate": relative(1e-6),
            "loss": relative(1e-2),
            "grad_norm": relative(5e-2),
            "eval_loss": relative(1e-2),
        },
    },
}


def allowed(compared: str, precision: str) -> Mapping[str, Tolerance]:
    """By quantity; what is not a matter of rounding is exact."""
    return dict.fromkeys(QUANTITIES, EXACT) | TABLE[compared][precision]


def precision_of(spec: TrainingSpec) -> str:
    """Which of the tolerances hold: by the type that losses are computed in."""
    return "half" if spec.bf16 or spec.fp16 else spec.dtype
