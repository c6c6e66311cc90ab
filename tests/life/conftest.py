"""Fixtures of the lives of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.life.runs import Inputs, Life, build_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return build_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture
def life(inputs: Inputs, tmp_path: Path) -> Life:
    return Life(inputs, tmp_path / "output")
