"""Laws for any input: hypothesis draws a few examples, the simplest among them.

Few, and a failing one is not made smaller, since each is a run. A plain run draws the
same each time; `--examples N` draws more, `--hypothesis-seed N` others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = 2
"""Of each law, trainer and profile; pytest's option --examples."""
SEEDED = True
"""Whether each session draws the same; False: pytest has a --hypothesis-seed."""

TRICKY = ("NA", "null", "007", "1e5", " led by a space", "2024-01-02", "#", '"', "nan")
# The first of each is the simplest, which is always drawn: one with an end to see
SHAPES: dict[str, st.SearchStrategy[int]] = {
    "rows": st.just(7) | st.integers(1, 20),
    "size": st.just(2) | st.integers(1, 5),
    "accumulation": st.just(2) | st.integers(1, 3),
}
"""Rows to train on, and how they are cut into micro-batches and updates."""


def for_all(
    **drawn: st.SearchStrategy[Any],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Proves a law for what is drawn; its other arguments are fixtures."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=EXAMPLES,
            derandomize=SEEDED,
            database=None,  # what failed here once says nothing elsewhere
            deadline=None,
            phases=(Phase.explicit, Phase.generate),
            # A run is slow, and every example may share the fixtures
            suppress_health_check=list(HealthCheck),
        )(given(**drawn)(test))

    return decorate


def texts() -> st.SearchStrategy[str]:
    """What stands in a cell, other than nothing and NUL: quotes, lines, any script."""
    characters = st.characters(codec="utf-8", exclude_characters="\0")
    some = st.text(characters, min_size=1, max_size=12).filter(str.strip)
    return some | st.sampled_from(TRICKY)


def rows(most: int = 5) -> st.SearchStrategy[list[dict[str, str]]]:
    """Rows of any texts and summaries, after one that looks like none."""
    row = st.fixed_dictionaries({"text": texts(), "summary": texts()})
    first = [{"text": "007", "summary": "NA"}]
    return st.lists(row, max_size=most - 1).map(first.__add__)
