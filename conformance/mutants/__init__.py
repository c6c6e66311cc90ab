"""Mutants: trainers with one planted fault each, which the laws in `caught_by` catch.

Each is a trainer like any other: `--trainer conformance.mutants.resume:DropsMoments`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from reference_trainers import listed

FRAMEWORKS = ("torch", "accelerate", "jax", "flax")


def mutants() -> dict[str, tuple[str, ...]]:
    """By the text that names it as a trainer: the laws that must catch it.

    Imports the frameworks that they are made of; where one is not installed, its
    mutants are left out.
    """
    absent = {trainer.name for trainer in listed() if not trainer.runs_here}
    return {
        getattr(mutant, "text", text): mutant.caught_by
        for text, mutant in all_mutants()
        if getattr(mutant, "of", None) not in absent
    }


def all_mutants() -> Iterator[tuple[str, Any]]:
    """Each as it stands in its module, with where that is."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        try:
            loaded = import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name in FRAMEWORKS:
                continue
            raise
        for name, value in vars(loaded).items():
            if "caught_by" in getattr(value, "__dict__", {}):
                yield f"{module.name}:{name}", value
