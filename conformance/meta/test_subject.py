"""A foreign trainer gets the whole suite, whatever it calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.meta.sessions import session
from conformance.subject import Subject

pytest.importorskip("torch", reason="not run: the trainer is the Accelerate trainer")

MINE = """\
from dataclasses import replace

from fixtures.numpy_backend import TRAINER as IN_NUMPY
from reference_trainers.registry import find_trainer

TRAINER = replace(find_trainer("accelerate"), name="pytorch")
QUICK = replace(IN_NUMPY, name="pytorch")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A trainer in a file outside the clone that has the oracle's name."""
    (tmp_path / "mine_named_pytorch.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return "mine_named_pytorch:TRAINER"


@pytest.fixture
def quick(mine: str) -> str:
    """Another one there, which imports no framework."""
    return mine.replace("TRAINER", "QUICK")


def test_a_trainer_is_known_by_its_text(mine: str) -> None:
    subject = Subject.of(mine)
    assert subject.name == "pytorch"
    assert not subject.is_oracle
    assert subject.folder_name == "mine_named_pytorch_TRAINER"


@pytest.mark.parametrize(("kind", "outcome"), [("mine", "passed"), ("quick", "failed")])
def test_it_is_held_against_the_oracle(
    kind: str, outcome: str, request: pytest.FixtureRequest
) -> None:
    """By runs of its own: one that is no T5 differs."""
    text = request.getfixturevalue(kind)
    found = session(text, "parity.steps", options=("--profile", "cpu"))
    assert list(found.outcomes) == [outcome], found.outcomes


def test_it_has_processes_of_its_own(quick: str) -> None:
    """It is started and stopped by its text."""
    found = session(quick, "kills.signals", options=("--profile", "cpu"))
    assert list(found.outcomes) == ["passed"], found.outcomes


def test_its_worker_finds_it(quick: str) -> None:
    """A profile with a process of its own runs it there."""
    found = session(quick, "arithmetic.schedule", options=("--profile", "cpu-bf16"))
    assert list(found.outcomes) == ["passed"], found.outcomes
