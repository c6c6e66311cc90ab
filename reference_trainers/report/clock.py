"""The clock of a run: how long each step took, without what was done beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """A stopwatch in seconds; `now` may be any clock that only goes forward."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._started = self._lap = now()

    def elapsed(self) -> float:
        """Since the clock was made, pauses included."""
        return self._now() - self._started

    def lap(self) -> float:
        """Since the lap before it ended, without pauses; begins the next lap."""
        now = self._now()
        seconds, self._lap = now - self._lap, now
        return seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in here belongs to no lap."""
        before = self._now()
        try:
            yield
        finally:
            self._lap += self._now() - before
