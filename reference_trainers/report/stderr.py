"""Keeps what a framework says while it is imported off stderr.

TensorFlow's C++ tells stderr of the processor it found, whatever the environment asks.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()  # else one import would put back another's file


@contextmanager
def import_noise_kept_off_stderr() -> Iterator[None]:
    """Holds back what is written to file descriptor 2; shown if an error is raised."""
    with _ONE_AT_A_TIME:
        try:
            stderr = os.dup(2)
        except OSError:  # closed: nothing is seen anyway
            yield
            return
        with os.fdopen(stderr, "wb") as shown, tempfile.TemporaryFile() as noise:
            watched = faulthandler.is_enabled()
            if not watched:  # a crash of the process still says where it was
                faulthandler.enable(shown)
            os.dup2(noise.fileno(), 2)
            try:
                yield
            except Exception:
                noise.seek(0)
                shutil.copyfileobj(noise, shown)
                raise
            finally:
                os.dup2(shown.fileno(), 2)
                if not watched:
                    faulthandler.disable()
