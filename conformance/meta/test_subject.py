"""A foreign trainer gets the whole suite, whatever it calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.meta.sessions import session
from conformance.subject import Subject

pytest.importorskip("torch", reason="not run: the trainer is the Accelerate trainer")

MINE = """\
from dataclasses import replace

from reference_trainers.registry import find_trainer

TRAINER = replace(find_trainer("accelerate"), name="pytorch")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A trainer in a file outside the clone that has the oracle's name."""
    (tmp_path / "mine_named_pytorch.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    return "mine_named_pytorch:TRAINER"


def test_a_trainer_is_known_by_its_text(mine: str) -> None:
    subject = Subject.of(mine)
    assert subject.trainer.name == "pytorch"
    assert not subject.is_oracle
    assert subject.folder_name == "mine_named_pytorch_TRAINER"


def test_it_has_runs_and_processes_of_its_own(mine: str) -> None:
    """It is held against the oracle, and started and stopped by its text."""
    laws = ("parity.steps", "kills.signals")
    found = session(mine, *laws, options=("--profile", "cpu"))
    assert list(found.outcomes) == ["passed"], found.outcomes
    assert len(found.outcomes["passed"]) == 2


def test_its_worker_finds_it(mine: str) -> None:
    """A profile with a process of its own runs it there."""
    found = session(mine, "arithmetic.schedule", options=("--profile", "cpu-bf16"))
    assert list(found.outcomes) == ["passed"], found.outcomes
