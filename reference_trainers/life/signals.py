"""What SIGTERM, Ctrl-C and a closed terminal do to a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reference_trainers.report.progress import say

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 10.0  # seconds; schedulers give 30 in all, and saving takes some of them


class StopRequest:
    """Whether a signal has asked the run to stop."""

    def __init__(self, discard: Callable[[], None]) -> None:
        self.signal: signal.Signals | None = None
        self._discard = discard
        self._leave: Callable[[], str] | None = None
        self._leaving = threading.Lock()

    def exit_status(self) -> int | None:
        """128 + the signal's number, as a shell reports it; None: no signal came."""
        return None if self.signal is None else 128 + self.signal

    def ask(self, number: signal.Signals) -> None:
        """Another signal changes nothing: what the first is saving would be lost."""
        again = "already stopping" if self.signal else "stopping"
        self.signal = self.signal or number
        say(f"{number.name}: {again}; what is finished is saved first.")

    def leave_by(self, leave: Callable[[], str] | None) -> None:
        """How to end the process where a stop is asked for and the run is held up.

        A batch that is generated, or a program that is compiled, can't be interrupted,
        and may take minutes. `leave` saves what is to be saved, from another thread,
        and says so. None: the run must come back by itself, from an update or a save.
        """
        with self._leaving:
            self._leave = leave

    def leave_if_held_up(self, number: int, ended: threading.Event) -> None:
        """Waits until the run has `ended`, or ends the process; see `leave_by`."""
        wait = PATIENCE
        while not ended.wait(wait):
            wait = 0.1
            with self._leaving:
                if self._leave is not None:
                    say(self._leave())
                    self._discard()
                    sys.stderr.flush()
                    os._exit(128 + number)


@contextmanager
def stop_signals(
    discard: Callable[[], None] = lambda: None,
) -> Iterator[StopRequest]:
    """While inside, a signal asks the run to stop, and does nothing else.

    `discard` takes away what is unfinished where the process must end at once.
    """
    request = StopRequest(discard)
    if threading.current_thread() is not threading.main_thread():
        yield request  # Python handles signals in its main thread only
        return
    before = {kind: signal.getsignal(kind) for kind in STOPPING}
    # nohup, or a shell in the background, had one ignored: it stays ignored
    before = {kind: was for kind, was in before.items() if was != signal.SIG_IGN}
    for kind in before:
        signal.signal(kind, lambda number, frame: request.ask(signal.Signals(number)))
    try:
        with _watched(request):
            yield request
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """While inside, a signal ends the process as if Python were not there.

    A process that waits for the others in a framework's own code, which no Python
    handler can interrupt, could not be stopped otherwise.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.getsignal(kind) for kind in STOPPING}
    for kind, was in before.items():
        if was != signal.SIG_IGN:
            signal.signal(kind, signal.SIG_DFL)
    try:
        yield
    finally:
        for kind, was in before.items():
            signal.signal(kind, was)


@contextmanager
def _watched(request: StopRequest) -> Iterator[None]:
    """A thread sees a signal at once, whatever the main thread waits for."""
    ended = threading.Event()
    seen, sees = os.pipe()
    os.set_blocking(sees, False)

    def watch() -> None:
        while number := os.read(seen, 1):
            if number[0] in STOPPING:
                request.leave_if_held_up(number[0], ended)
                return

    before = signal.set_wakeup_fd(sees, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(sees)
        watcher.join()
        os.close(seen)
