"""A trainer that computes on one device keeps no law of several: none is run."""

from __future__ import annotations

import pytest

from conformance.meta.sessions import session

QUICK = "fixtures.numpy_backend:TRAINER"  # in one process it has one device
LAWS = ("resume.by-itself", "resume.may-not-change", "kills.signals", "damage.named")


@pytest.mark.parametrize("laws", [LAWS, LAWS[::-1]], ids=["runs-first", "kills-first"])
def test_a_law_of_several_devices_is_not_run_on_one(laws: tuple[str, ...]) -> None:
    """Whichever law begins, by a run, by a command or by a process of its own."""
    found = session(QUICK, *laws, options=("--profile", "cpu-x2", "--shuffle", "1"))
    assert {*found.states} == {"not run"}
    assert {made["law"] for made in found.properties} == {*laws}
    reasons = {made["reason"] for made in found.properties}
    assert len(reasons) == 1
    assert "computes on 1 device here; cpu-x2 has 2" in reasons.pop()
