"""A law that no broken trainer fails is no law: each mutant has one planted fault."""

from __future__ import annotations

import pytest

from conformance.catalogue import laws
from conformance.law import LAWS
from conformance.meta.sessions import session
from conformance.mutants import mutants
from conformance.profiles import ONE_PROCESS

# Each of these takes a minute or more
LONG = tuple(
    f"devices.{name}"
    for name in ("kills", "counts", "handover", "resume", "repeat", "files", "sharded")
)
CAUGHT = [
    pytest.param(mutant, law, marks=[pytest.mark.slow] if law in LONG else [])
    for mutant, laws in mutants().items()
    for law in laws
]


@pytest.mark.parametrize(("mutant", "law"), CAUGHT)
def test_the_law_catches_the_mutant(mutant: str, law: str) -> None:
    """The sound trainer that it is made of is tested with the same law by the suite."""
    laws()
    # PyTorch has no several devices in one process
    several = [name for name in LAWS[law].profiles if name not in ONE_PROCESS]
    profile = several[0] if several else LAWS[law].profiles[0]
    found = session(mutant, law, options=("--profile", profile, "-x"))
    assert found.broken, f"{law} does not see the fault: {found.outcomes}"


def test_every_mutant_names_laws_that_exist() -> None:
    laws()
    for mutant, caught_by in mutants().items():
        assert caught_by, f"{mutant} is caught by nothing"
        assert not set(caught_by) - LAWS.keys(), mutant
