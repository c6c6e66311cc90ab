"""How a fault is planted in what all trainers share: one function is another.

@planted("reference_trainers.data.batches.rows_at", caught_by=("order.seed-and-epoch",))
def file_order(sound):
    \"\"\"Trains in the order of the file.\"\"\"
    return lambda seed, epoch, rows, positions: positions

makes a trainer of it: the sound one, with that function replaced while it runs.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from reference_trainers import RunReport, TrainingSpec, find_trainer, refusals_of

QUICK = "fixtures.numpy_backend:TRAINER"
"""It trains in milliseconds. It learns little; a law of learning mutates `T5`."""
T5 = "accelerate"


class OfASound:
    """What a mutant has of the sound trainer that it is made of."""

    of: str
    """The text of the sound trainer."""

    @property
    def name(self) -> str:
        return find_trainer(self.of).name

    @property
    def refuses(self) -> Mapping[str, str]:
        return refusals_of(find_trainer(self.of))


@dataclass(frozen=True)
class Planted(OfASound):
    """A trainer with one fault."""

    where: str
    """The function that is replaced: `package.module.name`."""
    fault: Callable[[Any], Any]
    """Makes the faulty function of the sound one."""
    caught_by: tuple[str, ...]
    of: str = QUICK

    def run(self, spec: TrainingSpec) -> RunReport:
        sound = pkgutil.resolve_name(self.where)
        with mock.patch(self.where, self.fault(sound)):
            return find_trainer(self.of).run(spec)


def planted(
    where: str, *, caught_by: tuple[str, ...], of: str = QUICK
) -> Callable[[Callable[[Any], Any]], Planted]:
    """Makes a trainer of a function that makes a faulty function of the sound one."""
    return lambda fault: Planted(where, fault, caught_by, of)
