"""Keeps what a framework says of itself off stderr, and off stdout.

TensorFlow's C++ tells stderr of the processor it found, whatever the environment asks.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_ONE_AT_A_TIME = threading.RLock()  # else one import would put back another's file


def import_noise_kept_off_stderr() -> AbstractContextManager[None]:
    """Holds back what is written to stderr; shown if an error is raised."""
    return noise_kept_off(2)


@contextmanager
def noise_kept_off(descriptor: int) -> Iterator[None]:
    """Holds back what is written to a file descriptor; shown if an error is raised."""
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(descriptor)
        except OSError:  # closed: nothing is seen anyway
            yield
            return
        with os.fdopen(kept, "wb") as shown, tempfile.TemporaryFile() as noise:
            watched = faulthandler.is_enabled()
            if not watched:  # a crash of the process still says where it was
                faulthandler.enable(shown)
            os.dup2(noise.fileno(), descriptor)
            try:
                yield
            except Exception:
                noise.seek(0)
                shutil.copyfileobj(noise, shown)
                raise
            finally:
                os.dup2(shown.fileno(), descriptor)
                if not watched:
                    faulthandler.disable()
