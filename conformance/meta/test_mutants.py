"""A law that no broken trainer fails is no law: each mutant has one planted fault."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path

import pytest

from conformance.catalogue import laws
from conformance.law import LAWS
from conformance.meta.sessions import session
from conformance.mutants import all_mutants, mutants
from conformance.mutants.planted import QUICK
from conformance.profiles import ONE_PROCESS

ROOT = Path(__file__).parents[2]
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
    options = ("--profile", profile, "-m", "slow or not slow", "-x")
    found = session(mutant, law, options=options)
    assert "fail" in found.states, f"{law} does not see the fault: {found.states}"


def test_the_sound_trainer_keeps_what_its_mutants_break(
    pytestconfig: pytest.Config,
) -> None:
    """So that it is the fault that a law sees."""
    share = str(pytestconfig.getoption("--share"))
    broken = {
        law
        for _, mutant in all_mutants()
        for law in mutant.caught_by
        if getattr(mutant, "of", None) == QUICK and not law.startswith("guide.")
    }
    options = ("--profile", "cpu", "--share", share)
    found = session(QUICK, *broken, options=options)
    assert {*found.states} <= {"pass", "not run"}, found.outcomes
    kept = {made["law"] for made in found.properties if made["state"] == "pass"}
    assert kept == {law for law in broken if "cpu" in laws()[law].profiles}


def test_a_trainer_that_does_nothing_keeps_no_law() -> None:
    """Not even those of a command line, which is its own."""
    options = ("--profile", "cpu", "--share", "1")  # a case of each law
    found = session("true whatever it is told", options=options)
    kept = [made["law"] for made in found.properties if made["state"] == "pass"]
    assert kept == []
    assert len({made["law"] for made in found.properties}) == len(laws())


def test_every_law_has_a_mutant() -> None:
    """`pytest conformance/meta -k every_law -s` prints the table."""
    for name in ("accelerate", "flax"):
        pytest.importorskip(name, reason=f"not run: some are made of {name}")
    table: dict[str, list[str]] = {law: [] for law in laws()}
    for mutant, caught_by in mutants().items():
        assert caught_by, f"{mutant} is caught by nothing"
        for law in caught_by:
            table[law].append(mutant.rpartition("conformance.mutants.")[2])
    for law, those in table.items():
        print(f"{law:24} {', '.join(those)}")
    assert [law for law, those in table.items() if not those] == []


def test_every_fault_is_planted_where_something_is() -> None:
    for text, mutant in all_mutants():
        if hasattr(mutant, "where"):
            assert callable(pkgutil.resolve_name(mutant.where)) or isinstance(
                pkgutil.resolve_name(mutant.where), property
            ), text


# Its own module uses it for files, which these mutants are of; data.rows for datasets
USED_TWICE = {"reference_trainers.data.columns.columns_of"}


def test_every_fault_is_planted_where_it_is_looked_up() -> None:
    """A module that imports a function by its name keeps the sound one."""
    planted = {m.where for _, m in all_mutants() if hasattr(m, "where")} - USED_TWICE
    assert "reference_trainers.loop.global_batch" in planted
    for source in sorted((ROOT / "reference_trainers").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported = {f"{node.module}.{alias.name}" for alias in node.names}
                assert not imported & planted, source
