"""`pytest conformance --shuffle SEED`."""

from __future__ import annotations

import random
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from conformance.plugin.trainers import shuffle


def items() -> list[Any]:
    places = [(trainer, profile) for trainer in "abc" for profile in ("cpu", "cpu-x2")]
    return [
        SimpleNamespace(
            law=law, callspec=SimpleNamespace(params={"subject": t, "profile": p})
        )
        for law in range(20)
        for t, p in places
    ] + [SimpleNamespace(law=99)]


def order(seed: int) -> list[tuple[Any, ...]]:
    found = items()
    shuffle(found, random.Random(seed))
    return [(*place(item), item.law) for item in found]


def place(item: Any) -> tuple[Any, ...]:
    return tuple(item.callspec.params.values()) if hasattr(item, "callspec") else ()


def test_a_seed_is_an_order() -> None:
    assert order(1) == order(1) != order(2)
    assert sorted(map(str, order(1))) == sorted(map(str, order(2)))


def test_one_trainer_and_profile_after_another() -> None:
    """They share a worker, which would else be started and ended all the time."""
    places = [entry[:-1] for entry in order(1)]
    changes = sum(a != b for a, b in pairwise(places))
    assert changes == len({*places}) - 1


def test_laws_are_shuffled() -> None:
    laws = [entry[-1] for entry in order(1) if entry[:-1] == ("a", "cpu")]
    assert sorted(laws) == [*range(20)] != laws
