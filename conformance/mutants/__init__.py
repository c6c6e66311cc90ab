"""Mutants: trainers with one planted fault each, which the laws in `caught_by` catch.

Each is a backend like any other: `--trainer conformance.mutants.resume:DropsMoments`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

FRAMEWORKS = ("torch", "accelerate", "jax", "flax")


def mutants() -> dict[str, tuple[str, ...]]:
    """By the text that names it as a trainer: the laws that must catch it.

    Imports the frameworks that they are made of; where one is not installed, its
    mutants are left out.
    """
    found = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        try:
            loaded = import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name in FRAMEWORKS:
                continue
            raise
        for name, value in vars(loaded).items():
            if "caught_by" in getattr(value, "__dict__", {}):
                found[f"{module.name}:{name}"] = value.caught_by
    return found
