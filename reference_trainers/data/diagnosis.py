"""What a CSV file says of itself, and what is wrong with one: its line, and the fix.

pandas reads the rows, and says only that something is wrong; this looks for the line,
and only once something is.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from reference_trainers.data.lines import lines_of
from reference_trainers.errors import InputError, sentence_of

csv.field_size_limit(2**31 - 1)  # whole papers are fields here


def csv_header(path: Path) -> list[str]:
    """The column names.

    Refuses a file whose first row is longer than its header: pandas would take the
    first column of such a file for row names.
    """
    records = csv.reader(lines_of(path))
    header = next(records, None)
    if header is None:
        raise InputError(f"{path}: the file is empty.")
    if not "".join(header).strip() and len(header) < 2:
        raise InputError(
            f"{path}:1: the first line is blank. Begin with the names of the columns."
        )
    for number, name in enumerate(header, 1):
        if not name:
            raise InputError(
                f"{path}:1: column {number} has no name. Name it in the header."
            )
        if name in header[: number - 1]:
            raise InputError(
                f"{path}:1: column {name} comes twice in the header. "
                "Give each column a name of its own."
            )
    first = next(records, [])
    if len(first) > len(header):
        raise wrong_number_of_fields(path, records.line_num, first, header)
    return header


def csv_error(path: Path, error: Exception) -> InputError:
    """The sentence for an error that reading `path` raised."""
    records = _records(path, strict=True)
    try:
        _, header = next(records)
        rows = 0
        for line, fields in records:
            rows += 1
            if len(fields) != len(header):
                return wrong_number_of_fields(path, line, fields, header)
    except InputError as found:
        return found
    if rows == 0:
        return InputError(f"{path}: no usable row: a header and nothing below it.")
    return error_of(path, error)


def error_of(path: Path, error: Exception) -> InputError:
    """Ours where it began with one, else a library's in a sentence."""
    cause: BaseException = error
    while not isinstance(cause, InputError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, InputError):
        return cause
    return InputError(f"{path}: cannot be read: {sentence_of(cause)}")


def refuse_short_rows(path: Path, rows: int) -> None:
    """Refuses a CSV file with too few fields in one of its first rows.

    To pandas such a row ends in empty fields.
    """
    records = _records(path)
    _, header = next(records)
    for line, fields in islice(records, rows):
        if len(fields) < len(header):
            raise wrong_number_of_fields(path, line, fields, header)


def line_of_row(path: Path, row: int) -> int:
    """Where a row begins; `row` counts from 0."""
    line, _ = next(islice(_records(path), row + 1, None))
    return line


def _records(path: Path, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Header and rows, as pandas counts them, with their first lines."""
    records = csv.reader(lines_of(path), strict=strict)
    line = 1
    try:
        for fields in records:
            if len(fields) > 1 or "".join(fields).strip():
                yield line, fields
            line = records.line_num + 1
    except csv.Error:
        raise InputError(
            f"{path}:{line}: a quote that is not closed as CSV wants it. Close "
            'it, and write a quote inside a field twice ("").'
        ) from None


def wrong_number_of_fields(
    path: Path, line: int, fields: list[str], header: list[str]
) -> InputError:
    names = f"the header names {len(header)} ({', '.join(header)})"
    fix = "Quote a field that contains commas."
    if len(fields) < len(header):
        fix = "Give every row all fields; an empty one is fine."
    count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
    return InputError(f"{path}:{line}: {count}, but {names}. {fix}")
