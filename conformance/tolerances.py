"""How far two trainers may be apart in each quantity of a step, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reference_trainers.spec import TrainingSpec


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


EXACT = Tolerance()

# In the order in which a fault travels: the wrong rows spoil all that comes after.
QUANTITIES = {
    "row_ids": "row ids",
    "learning_rate": "learning rate",
    "target_tokens": "target tokens",
    "loss": "loss",
    "grad_norm": "gradient norm",
}

# The rate is computed alike everywhere, but a framework may hold it in float32, whose
# rounding is 6e-8. The loss in float32 is the project's claim. A gradient passes the
# model twice and is a sum in another order over every parameter, hence the wider
# allowance. A compute type of 8 bits (bfloat16) rounds each product by up to 4e-3.
TOLERANCES: dict[str, dict[str, Tolerance]] = {
    "float64": {
        "learning_rate": Tolerance(relative=1e-9),
        "loss": Tolerance(relative=1e-9),
        "grad_norm": Tolerance(relative=1e-8),
    },
    "float32": {
        "learning_rate": Tolerance(relative=1e-6),
        "loss": Tolerance(absolute=1e-4),
        "grad_norm": Tolerance(relative=1e-3),
    },
    "half": {
        "learning_rate": Tolerance(relative=1e-6),
        "loss": Tolerance(relative=1e-2),
        "grad_norm": Tolerance(relative=5e-2),
    },
}


def precision_of(spec: TrainingSpec) -> str:
    """Which of the tolerances hold: by the type that losses are computed in."""
    return "half" if spec.bf16 or spec.fp16 else spec.dtype
