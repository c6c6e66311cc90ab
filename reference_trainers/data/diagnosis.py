"""What is wrong with a data file: its line, and the fix.

The libraries that read the files say that something is wrong; this looks for the line,
and only once something is wrong.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from reference_trainers.errors import InputError, sentence_of

csv.field_size_limit(2**31 - 1)  # whole papers are fields here


def error_of(path: Path, file_format: str, error: Exception) -> InputError:
    """The sentence for an error that reading `path` raised."""
    found = _not_utf8(path) or (_bad_csv if file_format == "csv" else _bad_json)(path)
    if found is not None:
        return found
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return InputError(f"{path}: cannot be read: {sentence_of(cause)}")


def not_text_error(path: str, column: str, dtype: str) -> InputError:
    """The sentence for a column that should hold text, with its line if one is bad."""
    found = _bad_json(Path(path)) if ".json" in path else None
    return found or InputError(f"{path}: column {column} holds {dtype}, not text.")


def refuse_short_rows(path: str) -> None:
    """Refuses a CSV file with a row of too few fields.

    To pandas such a row ends in empty fields: it is among those that were dropped.
    """
    found = _bad_csv(Path(path)) if ".csv" in Path(path).suffixes else None
    if found is not None:
        raise found


def _lines(path: Path) -> Iterator[bytes]:
    with fsspec.open(path, "rb", compression="infer") as file:
        yield from file


def _not_utf8(path: Path) -> InputError | None:
    try:
        for number, line in enumerate(_lines(path), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return InputError(
                    f"{path}:{number}: byte 0x{line[error.start]:02x} is not UTF-8. "
                    "Save the file as UTF-8."
                )
    except (OSError, EOFError) as error:
        return InputError(f"{path}: cannot be decompressed: {sentence_of(error)}")
    return None


def _bad_csv(path: Path) -> InputError | None:
    records = csv.reader((line.decode() for line in _lines(path)), strict=True)
    first_line = 1
    header: list[str] = []
    try:
        for fields in records:
            header = header or fields
            if fields and len(fields) != len(header):
                return wrong_number_of_fields(path, first_line, fields, header)
            first_line = records.line_num + 1
        if records.line_num <= 1:
            return InputError(f"{path}: no usable row: a header and nothing below it.")
    except csv.Error:
        return InputError(
            f"{path}:{first_line}: a quote that is not closed as CSV wants it. Close "
            'it, and write a quote inside a field twice ("").'
        )
    return None


def wrong_number_of_fields(
    path: Path, line: int, fields: list[str], header: list[str]
) -> InputError:
    names = f"the header names {len(header)} ({', '.join(header)})"
    fix = "Quote a field that contains commas."
    if len(fields) < len(header):
        fix = "Give every row all fields; an empty one is fine."
    count = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
    return InputError(f"{path}:{line}: {count}, but {names}. {fix}")


def _bad_json(path: Path) -> InputError | None:
    head = next((line for line in _lines(path) if line.strip()), b"")
    if head.lstrip().startswith(b"["):
        return _bad_list(path)
    kinds: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            reason = getattr(error, "msg", "bytes that are no text")
            return InputError(f"{path}:{number}: not JSON: {reason}.")
        if not isinstance(row, dict):
            return InputError(f"{path}:{number}: not an object ({{...}}).")
        found = _changed_kind(path, number, row, kinds)
        if found is not None:
            return found
    return None


def _bad_list(path: Path) -> InputError | None:
    try:
        content = json.loads(b"".join(_lines(path)))
    except json.JSONDecodeError as error:
        return InputError(f"{path}:{error.lineno}: not JSON: {error.msg}.")
    kinds: dict[str, tuple[str, int]] = {}
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict):
            return InputError(f"{path}: row {number} is not an object ({{...}}).")
        found = _changed_kind(path, number, row, kinds)
        if found is not None:
            return found
    return None


def _changed_kind(
    path: Path, number: int, row: dict[str, Any], kinds: dict[str, tuple[str, int]]
) -> InputError | None:
    """A column must hold the same type in every row."""
    for column, value in row.items():
        if value is None:
            continue
        kind, line = kinds.setdefault(column, (type(value).__name__, number))
        if kind != type(value).__name__:
            return InputError(
                f"{path}:{number}: column {column} holds {type(value).__name__}, "
                f"but {kind} at line {line}."
            )
    return None
