"""How the processes of a run talk: the first says, the others hear.

Words are JSON and travel by `Backend.reduce`, a sum that every framework has: a process
that does not speak adds zeros. All take part in each exchange, in the same order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from reference_trainers.errors import InputError, ProcessLost, TrainingStopped
from reference_trainers.world import World

Reduce = Callable[[np.ndarray], np.ndarray]
Arrays = Mapping[str, np.ndarray]


class Ended(Exception):
    """The first process has ended the run: with this exit status, and this report."""

    def __init__(self, status: int, report: str | None):
        super().__init__(status)
        self.status = status
        self.report = report


class Group:
    """The processes of a run; one alone talks to nobody, and waits for nobody."""

    def __init__(self, world: World, reduce: Reduce):
        self.world = world
        self.reduce = reduce
        self._over = False

    @property
    def is_one(self) -> bool:
        return self.world.size == 1

    def say(self, do: str, arrays: Arrays | None = None, **more: Any) -> None:
        """What all are to do next; the first process says it."""
        if self.is_one:
            return
        named = arrays or {}
        kinds = {name: (str(a.dtype), a.shape) for name, a in named.items()}
        self._spread(json.dumps({"do": do, "arrays": kinds, **more}).encode())
        for values in named.values():
            self._spread(values.tobytes(), values.nbytes)

    def hear(self) -> dict[str, Any]:
        """The next word of the first process; raises `Ended` where it is the last."""
        word: dict[str, Any] = json.loads(self._spread(b""))
        if word["do"] == "end":
            raise Ended(word["status"], word["report"])
        for name, (kind, shape) in word["arrays"].items():
            size = np.dtype(kind).itemsize * math.prod(shape)
            content = np.frombuffer(self._spread(b"", size), kind)
            word["arrays"][name] = content.reshape(shape)
        return word

    def agreed(self, status: int | None) -> int | None:
        """The exit status that any process asks for; None: none does."""
        if self.is_one:
            return status
        return int(self._by_rank(status or 0).max()) or None

    @contextmanager
    def together(self) -> Iterator[None]:
        """What all do at a time: an `InputError` of one is raised in each."""
        problem = ""
        try:
            yield
        except InputError as error:
            problem = str(error)
            if self.is_one:
                raise
        if self.is_one:
            return
        troubled = np.flatnonzero(self._by_rank(bool(problem)))
        if len(troubled):
            self._over = True  # nobody is left to hear of it
            first = troubled[0] == self.world.rank
            raise InputError(self._spread(problem.encode() if first else b"").decode())

    @contextmanager
    def leading(self) -> Iterator[Callable[[str], None]]:
        """Ends the others as the first process ends; gives what takes the report.

        Where it crashes they lose their connection, and end by that.
        """
        status = 0
        report: list[str] = []
        try:
            yield report.append
        except InputError:
            status = 2
            raise
        except ProcessLost:
            raise  # nobody is there to hear of it
        except TrainingStopped as stopped:
            status = stopped.exit_status
            raise
        finally:
            if (status or report) and not self._over:
                self.say("end", status=status, report=report[0] if report else None)

    def summed(self, values: np.ndarray) -> np.ndarray:
        """The sum over all processes."""
        return values if self.is_one else self.reduce(values)

    def _by_rank(self, value: int) -> np.ndarray:
        """The number that each process gives, in the order of their ranks."""
        values = np.zeros(self.world.size, np.int64)
        values[self.world.rank] = value
        return self.reduce(values)

    def _spread(self, text: bytes, length: int | None = None) -> bytes:
        """The bytes of the one process that has some; to the bit, as whole numbers."""
        if length is None:
            length = int(self.reduce(np.array([len(text)], np.int64))[0])
        padded = text.ljust(-(-length // 4) * 4, b"\0")
        return self.reduce(np.frombuffer(padded, np.int32)).tobytes()[:length]
