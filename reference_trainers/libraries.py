"""The libraries that a trainer needs: which versions are supported, and what is here.

The bounds are those in the metadata of the trainer's package; there is no other list.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SUPPORTED, TOO_OLD, NOT_INSTALLED = "supported", "too old", "not installed"


@dataclass(frozen=True)
class Library:
    """What a trainer needs, and what this machine has of it."""

    name: str
    bounds: str
    """The versions that are supported; empty where any is."""
    here: str | None
    """The version that is installed, if any."""
    state: str
    """`SUPPORTED`, `TOO_OLD` or `NOT_INSTALLED`."""

    @property
    def problem(self) -> str:
        """Why the trainer cannot run with it."""
        if self.here is None:
            return f"{self.name} is not installed"
        return f"{self.name} {self.here} is too old, it must be {self.bounds}"


def libraries_of_all(distribution: Distribution | None) -> list[Library]:
    """Python, and what each trainer of the package needs."""
    from packaging.requirements import Requirement  # here: 40 ms that few runs need

    about = distribution.metadata.get_all("Requires-Python") if distribution else None
    python = Requirement("python" + "".join(about or []))
    needed = [r for r in _requirements(distribution) if _asked_for(r, "")]
    return [_library(requirement) for requirement in (python, *needed)]


def libraries_of_extras(
    distribution: Distribution | None, extras: Sequence[str]
) -> list[Library]:
    """What a trainer with those extras needs beside what all of them do."""
    return [
        _library(requirement)
        for requirement in _requirements(distribution)
        if not _asked_for(requirement, "")
        and any(_asked_for(requirement, extra) for extra in extras)
    ]


def _requirements(distribution: Distribution | None) -> list[Requirement]:
    from packaging.requirements import Requirement

    texts = distribution.requires if distribution else None
    return [Requirement(text) for text in texts or []]


def _asked_for(requirement: Requirement, extra: str) -> bool:
    """Whether the package asks for it here, with that extra."""
    marker = requirement.marker
    return marker is None or marker.evaluate({"extra": extra})


def _python() -> str:
    """Without the plus sign of a build from a clone, which no version may end with."""
    return platform.python_version().rstrip("+")


def _library(requirement: Requirement) -> Library:
    name, bounds = requirement.name, str(requirement.specifier)
    try:
        here = _python() if name == "python" else version(name)
    except PackageNotFoundError:
        return Library(name, bounds, None, NOT_INSTALLED)
    fits = requirement.specifier.contains(here, prereleases=True)
    return Library(name, bounds, here, SUPPORTED if fits else TOO_OLD)
