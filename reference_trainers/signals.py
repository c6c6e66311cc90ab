"""What SIGTERM and Ctrl-C do to a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(ask: Callable[[signal.Signals], None]) -> Iterator[None]:
    """While inside, the first SIGTERM or Ctrl-C asks; the second acts as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in its main thread only
        return
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for kind, handler in before.items():
            signal.signal(kind, handler)

    def handle(number: int, frame: object) -> None:
        restore()
        ask(signal.Signals(number))

    for kind in before:
        signal.signal(kind, handle)
    try:
        yield
    finally:
        restore()
