"""What `pytest conformance` tests, and what `pytest conformance/meta` does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.conftest import HOME, META, pytest_ignore_collect

ONE = "meta/test_flags.py::test_every_flag_has_a_law_that_sees_it"


@pytest.mark.parametrize(
    ("places", "is_left_out"),
    [
        (["."], True),
        (["laws", "meta"], False),
        (["meta"], False),
        ([ONE], False),
        ([".", ONE], False),
        ([".."], False),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else None,
)
def test_the_laws_are_for_trainers_and_their_proof_is_not(
    places: list[str], is_left_out: bool
) -> None:
    given: Any = SimpleNamespace(dir=HOME)
    asked: Any = SimpleNamespace(invocation_params=given, args=places)
    assert bool(pytest_ignore_collect(META, asked)) is is_left_out
    others = [path for path in HOME.iterdir() if path.is_dir() and path != META]
    assert HOME / "laws" in others
    assert not any(pytest_ignore_collect(path, asked) for path in others)
