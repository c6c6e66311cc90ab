"""What SIGTERM, Ctrl-C and a closed terminal do to a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reference_trainers.report.progress import say

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Whether a signal has asked the run to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def exit_status(self) -> int | None:
        """128 + the signal's number, as a shell reports it; None: no signal came."""
        return None if self.signal is None else 128 + self.signal

    def ask(self, number: signal.Signals) -> None:
        """Another signal changes nothing: what the first is saving would be lost."""
        again = "already stopping" if self.signal else "stopping"
        self.signal = self.signal or number
        say(f"{number.name}: {again}; what is finished is saved first.")


@contextmanager
def stop_signals() -> Iterator[Callable[[], int | None]]:
    """While inside, a signal asks the run to stop, and does nothing else.

    Gives a function that answers the exit status it asks for; None: no signal came.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request.exit_status  # Python handles signals in its main thread only
        return
    before = {kind: signal.getsignal(kind) for kind in STOPPING}
    # nohup, or a shell in the background, had one ignored: it stays ignored
    before = {kind: was for kind, was in before.items() if was != signal.SIG_IGN}
    for kind in before:
        signal.signal(kind, lambda number, frame: request.ask(signal.Signals(number)))
    try:
        yield request.exit_status
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
