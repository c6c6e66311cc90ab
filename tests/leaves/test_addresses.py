"""A process that is not told where the others are says which variable is missing."""

from __future__ import annotations

from importlib import import_module

import pytest

from reference_trainers.errors import InputError
from reference_trainers.world import World

VARIABLES = {"flax": "JAX_COORDINATOR_ADDRESS", "tensorflow": "TF_CONFIG"}
LIBRARIES = {"flax": "jax", "tensorflow": "tensorflow"}


@pytest.mark.parametrize("leaf", VARIABLES)
def test_a_missing_address_is_named(leaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(LIBRARIES[leaf])
    join = import_module(f"reference_trainers.{leaf}.processes").join
    monkeypatch.delenv(VARIABLES[leaf], raising=False)
    with pytest.raises(
        InputError, match=f"{VARIABLES[leaf]} is not set: each of the 2"
    ):
        join(World(1, 2))
