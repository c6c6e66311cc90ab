"""A share of the cases: every law keeps one, and another seed takes others."""

from __future__ import annotations

import pytest

from conformance.meta.sessions import session

QUICK = "fixtures.numpy_backend:TRAINER"
LAWS = ("input.bad-value", "order.few-rows")  # of sixteen cases, and of one


def run(*options: str) -> tuple[set[str], list[str]]:
    """The cases that are tested, and the states of all."""
    found = session(QUICK, *LAWS, options=("--profile", "cpu", *options))
    return set(found.outcomes["passed"]), found.states


@pytest.mark.parametrize("share", ["0", "101", "-5", "2.5", "all"])
def test_a_share_that_is_no_percentage_is_refused(share, capsys) -> None:
    found = session(QUICK, options=(f"--share={share}",))
    assert found.status == pytest.ExitCode.USAGE_ERROR
    said = capsys.readouterr().err
    assert f"{share}: give a whole number from 1 to 100" in said


def test_a_share_is_seeded_and_keeps_one_case_of_each_law() -> None:
    tested, states = run("--share", "25")
    assert len(tested) == 4 + 1
    assert sorted(states) == ["not run"] * 12 + ["pass"] * 5
    assert run("--share", "25") == (tested, states)
    assert run("--share", "25", "--share-seed", "1")[0] != tested


def test_a_law_for_any_input_is_tested_on_a_share_of_the_trainers() -> None:
    options = (
        "--trainer",
        "true whatever it is told",
        "--profile",
        "cpu",
        "--share",
        "50",
    )
    found = session(QUICK, "order.any-epochs", options=options)
    reasons = [made["reason"] for made in found.properties]
    assert ["of this share of 50 %" in reason for reason in reasons].count(True) == 1


def test_without_it_all_are_tested() -> None:
    assert run()[1] == ["pass"] * 17


def test_a_share_of_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert session(QUICK, *LAWS, options=("--share", "0")).status == 4
    assert "--share" in capsys.readouterr().err
