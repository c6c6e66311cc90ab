"""A folder for the files that the laws of data read."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files that runs read; session-wide, as runs are remembered."""
    return tmp_path_factory.mktemp("custom_files")
