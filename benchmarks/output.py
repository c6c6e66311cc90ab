"""The file that a command writes at its end: tried before it begins, written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference_trainers import InputError, write_whole


def check_output(flag: str, path: Path) -> None:
    """Raises `InputError` where nothing could be written; leaves nothing behind."""
    if path.is_dir():
        raise InputError(f"{flag} {path}: it is a folder; name a file.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{flag} {path}: there is no folder {path.parent}; make it.")
    with told(flag, path), tempfile.TemporaryFile(dir=path.absolute().parent):
        pass


def write_output(flag: str, path: Path, text: str) -> None:
    """Raises `InputError` where the disk has no room for it, say."""
    with told(flag, path):
        write_whole(path, text)


@contextmanager
def told(flag: str, path: Path) -> Iterator[None]:
    """What the system refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InputError(f"{flag} {path}: {why}; name another file.") from error
