"""Fixtures that several laws share: a run that was never stopped, and one that was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.laws.resuming import flags
from conformance.runs import Finished, Runs


@pytest.fixture
def whole(run: Runs) -> Finished:
    """The run that was never stopped; it keeps a checkpoint of every step."""
    return run(**flags(run))


@pytest.fixture
def stopped(whole: Finished, tmp_path: Path) -> Iterator[Path]:
    """An output folder as a run leaves it that was stopped after step 3.

    Whatever a law does with it, no temporary file stays.
    """
    folder = tmp_path / "stopped"
    for step in (2, 3):
        name = f"checkpoint-{step}"
        shutil.copytree(whole.folder / name, folder / name)
    yield folder
    assert [path.name for path in folder.glob(".*")] == []
