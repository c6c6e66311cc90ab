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
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


def lines_of(path: Path) -> Iterator[str]:
    """Each line with its end, as the csv module wants it; no byte order mark.

    Raises `InputError` for a file that is damaged, or not UTF-8.
    """
    unpacked = UNPACKED_BY.get(path.suffix.lower(), open)
    try:
        with unpacked(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError:  # it knows no line
        raise _not_utf8(path) from None
    except DAMAGED as error:
        raise InputError(f"{path}: cannot be read: {sentence_of(error)}") from error


def _not_utf8(path: Path) -> InputError:
    unpacked = UNPACKED_BY.get(path.suffix.lower(), open)
    number = 0
    try:
        with unpacked(path, "rb") as file:
            for line in file:
                number += 1
                line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        return InputError(
            f"{path}:{number}: byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8."
        )
    except DAMAGED:  # behind the line, where reading on in blocks has not come yet
        pass
    return InputError(f"{path}: is not UTF-8. Save the file as UTF-8.")
