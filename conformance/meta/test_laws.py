"""Every test in `laws/` is a law, and a law says what it must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conformance.catalogue import CHAPTERS, law_tests, laws, markdown
from conformance.law import LAWS, law, law_of
from conformance.profiles import CPU, PROFILES

PAGE = Path(__file__).parents[2] / "docs" / "laws.md"


def test_every_test_is_a_law_of_its_own() -> None:
    tests = law_tests()
    assert [test for test in tests if law_of(test) is None] == []
    found = laws()
    assert len(found) == len(tests) > 90
    assert set(found) <= LAWS.keys()
    assert all(len(law.sentence) <= 88 for law in found.values())


def test_the_catalogue_is_current() -> None:
    """`python -m conformance laws > docs/laws.md` makes it so."""
    assert PAGE.read_text(encoding="utf-8") == markdown()
    assert {law.chapter for law in laws().values()} == CHAPTERS.keys()


def test_a_law_says_what_it_leaves_out() -> None:
    """As "not run", the words that tell it from a pass."""
    sources = sorted((PAGE.parents[1] / "conformance").rglob("*.py"))
    calls = r"pytest\.(?:skip|param|importorskip|mark\.skip)\([^)]*reason=f?\"([^\"]*)"
    skips = r"pytest\.skip\(\s*f?\"([^\"]*)"
    for source in sources:
        text = source.read_text(encoding="utf-8")
        for said in re.findall(f"{calls}|{skips}", text):
            assert "".join(said).startswith("not run: "), f"{source}: {said}"


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
    laws()

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
