"""`pytest conformance` tests trainers; `pytest conformance/meta` tests the suite."""

from __future__ import annotations

from pathlib import Path

import pytest

HOME = Path(__file__).parent
META = HOME / "meta"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Who tests a trainer of their own need no proof that our laws can fail."""
    if collection_path != META:
        return None
    here = config.invocation_params.dir
    asked = [(here / place.partition("::")[0]).resolve() for place in config.args]
    named = any(place.is_relative_to(META) for place in asked)
    return True if HOME in asked and not named else None
