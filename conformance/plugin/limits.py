"""Known limits of a trainer, as data that its author owns: `--limits limits.toml`.

    [[limit]]
    law = "arithmetic.accumulation"
    profile = "cpu"                  # or a list, or "*": wherever the law holds
    reason = "It averages the micro-batches."
    expires = 2027-06-30             # looked at again by then
    link = "https://github.com/me/mine/issues/1"   # may be left out
    trainer = "mine:TRAINER"         # may be left out: any that is tested

A law that fails there is a known limit and fails no run. One that passes, an entry that
matches nothing and one that has expired fail it, each with a sentence.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.law import LAWS, Law
from conformance.profiles import PROFILES
from reference_trainers import InputError

REQUIRED = ("law", "profile", "reason", "expires")
KEYS = (*REQUIRED, "link", "trainer")


@dataclass(frozen=True)
class Limit:
    """One law that a trainer is known not to keep."""

    law: str
    profiles: tuple[str, ...]
    reason: str
    expires: datetime.date
    link: str
    trainer: str | None
    """Its text; None: any trainer that is tested."""
    place: str
    """The file and the number of the entry, for sentences about it."""

    def covers(self, law: Law, trainer: str, profile: str) -> bool:
        return (
            self.law == law.id
            and profile in self.profiles
            and self.trainer in (None, trainer)
        )

    @property
    def why(self) -> str:
        return f"{self.reason} {self.link}".rstrip()


def read_limits(path: Path, today: datetime.date) -> tuple[Limit, ...]:
    """Raises `InputError` for what is no limit, matches no law or has expired.

    All laws are to be loaded before.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--limits {path}: {error.strerror}.") from None
    except (UnicodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--limits {path}: {error}.") from None
    entries = content.get("limit", [])
    if set(content) - {"limit"} or not isinstance(entries, list):
        raise InputError(f"--limits {path}: each limit stands below a [[limit]] line.")
    return tuple(
        _limit(entry, f"--limits {path}, limit {number}", today)
        for number, entry in enumerate(entries, start=1)
    )


def _limit(entry: Mapping[str, Any], place: str, today: datetime.date) -> Limit:
    _check_keys(entry, place)
    law = LAWS.get(entry["law"])
    if law is None:
        raise InputError(
            f"{place}: there is no law {entry['law']!r}. "
            "`python -m conformance laws` lists them."
        )
    if entry["expires"] < today:
        raise InputError(
            f"{place}: the limit of {law.id} expired on {entry['expires']}. Look at "
            "it again: remove it, or say until when it stands."
        )
    return Limit(
        law=law.id,
        profiles=_profiles(entry["profile"], law, place),
        reason=entry["reason"],
        expires=entry["expires"],
        link=entry.get("link", ""),
        trainer=entry.get("trainer"),
        place=place,
    )


def _check_keys(entry: Mapping[str, Any], place: str) -> None:
    for key in entry:
        if key not in KEYS:
            raise InputError(f"{place}: {key} is none of {', '.join(KEYS)}.")
    for key in REQUIRED:
        if key not in entry:
            raise InputError(f"{place}: {key} is missing.")
    if type(entry["expires"]) is not datetime.date:
        raise InputError(f"{place}: expires is to be a day, such as 2027-06-30.")
    for key in ("law", "reason", "link", "trainer"):
        if not isinstance(entry.get(key, "-"), str) or not entry.get(key, "-"):
            raise InputError(f"{place}: {key} is to be a text.")


def _profiles(given: Any, law: Law, place: str) -> tuple[str, ...]:
    if given == "*":
        return law.profiles
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names:
        raise InputError(f"{place}: profile is to be a name, a list of names, or '*'.")
    for name in names:
        if name not in law.profiles:
            known = "" if name in PROFILES else "there is no such profile; "
            raise InputError(
                f"{place}: {known}{law.id} is a law of {', '.join(law.profiles)}, "
                f"not {name}: the limit matches nothing."
            )
    return tuple(names)


def limit_of(
    limits: Iterable[Limit], law: Law, trainer: str, profile: str
) -> Limit | None:
    """The limit under which a failure there is known."""
    found = (limit for limit in limits if limit.covers(law, trainer, profile))
    return next(found, None)
