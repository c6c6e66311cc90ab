"""Tests a seeded share of the cases of each law: `--share 25 --share-seed 7`.

Of each law, trainer and profile at least one case is tested; of a law for any input,
the same share of the trainers and of the examples that it draws; of mutants, the same.
What is left out is shown as not run. Another seed takes another share, so that a CI
which counts its seed up sees all of them in turn.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import defaultdict
from collections.abc import Hashable

import pytest
from hypothesis import is_hypothesis_test

from conformance.law import law_of
from conformance.laws import properties

MUTANTS = "test_the_law_catches_the_mutant"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--share",
        type=percent,
        default=100,
        metavar="PERCENT",
        help="of the cases of each law, and of the mutants; default: 100, all",
    )
    group.addoption(
        "--share-seed",
        type=int,
        default=0,
        metavar="N",
        help="which of them; default: 0",
    )


def percent(text: str) -> int:
    """Raises what argparse prints for anything but a whole number from 1 to 100."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 to 100")
    return int(text)


@pytest.hookimpl(trylast=True)  # after --examples
def pytest_configure(config: pytest.Config) -> None:
    share = config.getoption("--share")
    properties.EXAMPLES = math.ceil(properties.EXAMPLES * share / 100)


def pytest_report_header(config: pytest.Config) -> str | None:
    share, seed = config.getoption("--share"), config.getoption("--share-seed")
    return f"share: {share} % of cases, by seed {seed}" if share < 100 else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    share, seed = config.getoption("--share"), config.getoption("--share-seed")
    if share == 100:
        return
    reason = f"not run: not of this share of {share} % (--share-seed {seed})"
    for cases in _cases(items):
        order = random.Random(f"{seed} {cases[0].nodeid}")
        kept = order.sample(range(len(cases)), math.ceil(len(cases) * share / 100))
        for number in {*range(len(cases))} - {*kept}:
            cases[number].add_marker(pytest.mark.skip(reason=reason))


def _cases(items: list[pytest.Item]) -> list[list[pytest.Item]]:
    """Those of one law on one trainer and profile; all mutants together, and all
    trainers of a law for any input."""
    found: dict[Hashable, list[pytest.Item]] = defaultdict(list)
    for item in items:
        law = law_of(getattr(item, "function", None))
        called = getattr(item, "callspec", None)
        if law is not None and called is not None:
            subject, profile = (called.params.get(n) for n in ("subject", "profile"))
            any_input = is_hypothesis_test(law.test)
            found[law.id, profile, None if any_input else subject].append(item)
        elif item.name.startswith(MUTANTS):
            found[MUTANTS].append(item)
    return list(found.values())
