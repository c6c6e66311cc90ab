"""Every test in `laws/` is a law, and a law says what it must."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

import pytest

import conformance.laws
from conformance.law import LAWS, law, law_of
from conformance.profiles import CPU, PROFILES


def load_laws() -> list[Any]:
    """Every test function of the suite."""
    tests = []
    for module in pkgutil.iter_modules(conformance.laws.__path__, "conformance.laws."):
        found = vars(import_module(module.name))
        tests += [value for name, value in found.items() if name.startswith("test_")]
    return tests


def test_every_test_is_a_law_of_its_own() -> None:
    tests = load_laws()
    assert [test for test in tests if law_of(test) is None] == []
    ids = [law_of(test).id for test in tests]  # type: ignore[union-attr]
    assert len(ids) == len(set(ids)) > 60
    assert set(ids) <= LAWS.keys()
    assert all(len(found.sentence) <= 88 for found in map(LAWS.get, ids) if found)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"id": "resume.bit-exact"}, "has this id, too"),
        ({"id": "resume"}, "chapter.name"),
        ({"profiles": ("tpu-v9",)}, "no profile tpu-v9"),
        ({"profiles": ()}, "names no profile"),
        ({"always": ("cpu-x2",)}, "where it does not hold"),
        ({"doc": "No sentence"}, "whole sentence"),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_what_is_no_law_is_refused(given: dict[str, Any], sentence: str) -> None:
    load_laws()

    def proof() -> None: ...

    proof.__doc__ = given.pop("doc", "It holds.")
    wanted: dict[str, Any] = {"id": "chapter.of-a-test", "profiles": CPU, **given}
    with pytest.raises(ValueError, match=sentence):
        law(wanted.pop("id"), **wanted)(proof)
    assert "chapter.of-a-test" not in LAWS


def test_profiles_are_listed_by_their_names() -> None:
    assert all(profile.name == name for name, profile in PROFILES.items())
    others = {profile.others for profile in PROFILES.values()} - {None}
    assert others <= PROFILES.keys()
