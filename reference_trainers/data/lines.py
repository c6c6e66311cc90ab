"""The lines of a data file, unpacked and decoded."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reference_trainers.errors import InputError, sentence_of

UNPACKED_BY: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}


def lines_of(path: Path) -> Iterator[str]:
    """Each line with its end, as the csv module wants it; no byte order mark.

    Raises `InputError` for a file that is damaged, or not UTF-8.
    """
    unpacked = UNPACKED_BY.get(path.suffix.lower(), open)
    try:
        with unpacked(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError as error:  # it knows no line
        raise _not_utf8(path) or error from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read: {sentence_of(error)}") from error


def _not_utf8(path: Path) -> InputError | None:
    unpacked = UNPACKED_BY.get(path.suffix.lower(), open)
    with unpacked(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return InputError(
                    f"{path}:{number}: byte 0x{line[error.start]:02x} is not UTF-8. "
                    "Save the file as UTF-8."
                )
    return None
