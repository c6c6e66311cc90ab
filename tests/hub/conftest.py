"""Fixtures: a local Hub, and a life whose pushes go to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.hub import Hub
from tests.life.runs import Inputs, Life, build_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return build_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def life(inputs: Inputs, tmp_path: Path) -> Life:
    return Life(inputs, tmp_path / "output")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub that the pushes of this process go to, as `user`."""
    with Hub(tmp_path / "hub") as running:
        for name, value in running.environment(tmp_path / "home", "hf_writes").items():
            monkeypatch.setenv(name, value)
        yield running
