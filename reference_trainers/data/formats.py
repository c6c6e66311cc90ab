"""What a data file says of itself: the header of a CSV, the list in a JSON object."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import fsspec

from reference_trainers.data.diagnosis import wrong_number_of_fields
from reference_trainers.errors import InputError, sentence_of


def csv_header(path: Path) -> list[str]:
    """The column names.

    Refuses a file whose first row is longer than its header: pandas would take the
    first column of such a file for row names.
    """
    records = csv.reader(
        _head(path).decode("utf-8", "replace").removeprefix("\ufeff").splitlines(True)
    )
    header = next(records)
    first = next(records, [])
    if len(first) > len(header):
        raise wrong_number_of_fields(path, records.line_num, first, header)
    return header


def json_field(path: Path) -> str | None:
    """The name of the list in a file that is one object with one list; else None."""
    head = _head(path).lstrip()
    if not head.startswith(b"{") or ".jsonl" in path.suffixes:
        return None
    first = head.splitlines()[0]
    try:
        content = json.loads(first)
    except ValueError:  # the object is longer: it is the whole file
        with fsspec.open(path, "rt", encoding="utf-8", compression="infer") as file:
            try:
                content = json.load(file)
            except ValueError:
                return None  # its lines will be explained one by one
    lists = [name for name, value in content.items() if _is_rows(value)]
    if len(lists) > 1:
        raise InputError(
            f"{path}: one object with several lists ({', '.join(lists)}); "
            "give each list a file of its own."
        )
    return lists[0] if lists else None


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _head(path: Path) -> bytes:
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            head = file.read(1 << 20)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {sentence_of(error)}") from error
    if not head.strip():
        raise InputError(f"{path}: the file is empty.")
    return head
