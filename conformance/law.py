"""A law: an id, one sentence, the profiles it holds on, and a test that proves it.

@law("resume.bit-exact", profiles=EXACT)
def test_resumed_run_is_the_uninterrupted_run(run, ...):
    \"\"\"k steps, a resume and the rest are the run without a stop.\"\"\"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from conformance.profiles import PROFILES

Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Law:
    """What must hold for every trainer on each of its profiles."""

    id: str
    """Chapter and name: `resume.bit-exact`."""
    sentence: str
    profiles: tuple[str, ...]
    """Where it holds; the first is where it is tested if none is asked for."""
    always: tuple[str, ...]
    """Further profiles that it is tested on if none is asked for."""
    is_long: bool
    """It takes minutes, or an idle machine: it is tested where it is asked for."""
    test: Callable[..., None]

    @property
    def chapter(self) -> str:
        return self.id.partition(".")[0]

    @property
    def by_default(self) -> tuple[str, ...]:
        return (self.profiles[0], *self.always)


LAWS: dict[str, Law] = {}


def law(
    id: str,
    *,
    profiles: tuple[str, ...],
    always: tuple[str, ...] = (),
    is_long: bool = False,
) -> Callable[[Test], Test]:
    """Makes a law of a test whose docstring is the sentence."""

    def made(test: Test) -> Test:
        sentence = " ".join((test.__doc__ or "").split())
        found = Law(id, sentence, profiles, always, is_long, test)
        _check(found)
        LAWS[id] = found
        test.law = found  # type: ignore[attr-defined]
        return test

    return made


def law_of(test: Any) -> Law | None:
    """The law that a test proves; None: it is no law."""
    return getattr(test, "law", None)


def _check(found: Law) -> None:
    where = f"law {found.id}"
    if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", found.id):
        raise ValueError(f"{where}: an id is written chapter.name, in small letters")
    if found.id in LAWS and _place(LAWS[found.id].test) != _place(found.test):
        raise ValueError(f"{where}: {_place(LAWS[found.id].test)} has this id, too")
    if not found.sentence.endswith("."):
        raise ValueError(f"{where}: its docstring is to be one whole sentence")
    if not found.profiles:
        raise ValueError(f"{where}: names no profile")
    for name in (*found.profiles, *found.always):
        if name not in PROFILES:
            raise ValueError(f"{where}: there is no profile {name}")
    if not set(found.always) <= set(found.profiles):
        raise ValueError(f"{where}: always tested where it does not hold")


def _place(test: Callable[..., None]) -> str:
    """A module that is loaded again makes its laws again, which is no clash."""
    return f"{test.__module__}.{test.__qualname__}"
