"""Progress bars and log lines: once, on a terminal, and never into a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from reference_trainers.errors import one_line
from reference_trainers.world import world_of

Item = TypeVar("Item")


def progress_bar(
    items: Iterable[Item], total: int, name: str, quiet: bool
) -> Iterator[Item]:
    """`items`, with a bar where stderr is a terminal."""
    hidden = quiet or not sys.stderr.isatty()
    return iter(tqdm(items, name, total, leave=False, disable=hidden))


def tell(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def say(line: str) -> None:
    """A line on stderr, of the first process, that does not tear a bar apart."""
    if not world_of().first:
        return
    tqdm.write(one_line(line), file=sys.stderr)
