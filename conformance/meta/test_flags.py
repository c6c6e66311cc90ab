"""Every flag of the spec has a law that sees it, or a reason why none can."""

from __future__ import annotations

from dataclasses import fields

from conformance.catalogue import laws
from conformance.mutants.flags import SEEN_BY, UNSEEN
from reference_trainers import TrainingSpec


def test_every_flag_has_a_law_that_sees_it() -> None:
    """Its mutants, which accept a flag and ignore it, show that the law does."""
    flags = {flag.name for flag in fields(TrainingSpec)}
    assert flags - SEEN_BY.keys() - UNSEEN.keys() == set()
    assert (SEEN_BY.keys() | UNSEEN.keys()) - flags == set()
    assert SEEN_BY.keys() & UNSEEN.keys() == set()
    assert {*SEEN_BY.values()} <= laws().keys()
