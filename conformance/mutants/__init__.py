"""Mutants: trainers with one planted fault each, which the laws in `caught_by` catch.

Each is a backend like any other: `--trainer conformance.mutants.resume:DropsMoments`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module


def mutants() -> dict[str, tuple[str, ...]]:
    """By the text that names it as a trainer: the laws that must catch it.

    Imports the framework that they are made of.
    """
    found = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for name, value in vars(import_module(module.name)).items():
            if "caught_by" in getattr(value, "__dict__", {}):
                found[f"{module.name}:{name}"] = value.caught_by
    return found
