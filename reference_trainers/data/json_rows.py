"""The rows of JSON Lines, of a list, or of an object that holds one list.

Read here and not by a library: to `datasets` a column of strings that look like dates
is a column of times, and no text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from reference_trainers.data.lines import lines_of
from reference_trainers.errors import InputError

Row = dict[str, Any]
Placed = tuple[str, Row]
"""A row after its place: file and line, or file and number in its list."""

USUAL = 1000  # rows that show which columns there are, in all but a few files
KINDS: dict[type, str] = {
    **{bool: "true or false", int: "a number", float: "a number"},
    **{list: "a list", dict: "an object"},
}


def json_columns(path: Path, limit: int | None, named: Collection[str]) -> list[str]:
    """The columns of the first rows, in the order in which they first come.

    Reads on until there are two, and each that is `named`.
    """
    columns: Row = {}
    enough = min(USUAL, limit or USUAL)
    for number, (_, row) in enumerate(json_rows(path), 1):
        columns |= row
        if number >= enough and len(columns) > 1 and columns.keys() >= {*named}:
            break
    if not columns:
        raise InputError(f"{path}: the file holds no rows.")
    return list(columns)


def json_texts(
    path: str, columns: tuple[str, str], limit: int | None, **version: int
) -> Iterator[dict[str, str | None]]:
    """Text and summary of the first `limit` rows; what is no text is refused.

    `version`: of the file; a cache of these rows is found by what is given here.
    """
    for place, row in islice(json_rows(Path(path)), limit):
        yield {column: _text(place, column, row.get(column)) for column in columns}


def _text(place: str, column: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(
            f"{place}: column {column} holds {KINDS[type(value)]}, not text. "
            "Give a string."
        )
    if "\0" in value:
        raise nul_error(place, column)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{place}: column {column} holds half a surrogate pair, which is no "
            "character. Take it out."
        ) from None
    return value


def nul_error(place: str, column: str) -> InputError:
    return InputError(f"{place}: column {column} holds a NUL character. Take it out.")


def json_rows(path: Path) -> Iterator[Placed]:
    """Every row, whatever the file is like inside."""
    lines = ((n, line) for n, line in enumerate(lines_of(path), 1) if line.strip())
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: the file is empty.")
    second = next(lines, None)
    if first[1].lstrip().startswith("["):
        yield from _of_list(path, _parsed(path, None, "".join(lines_of(path))))
        return
    if second is None:
        yield from _of_object(path, _parsed(path, *first))
        return
    if not _is_json(first[1]):  # an object over several lines, or a broken line
        whole = "".join(lines_of(path))
        if _is_json(whole):
            yield from _of_object(path, _parsed(path, None, whole))
            return
    for number, line in chain([first, second], lines):
        place = f"{path}:{number}"
        yield place, _row(place, _parsed(path, number, line))


def _of_list(path: Path, values: list[Any]) -> Iterator[Placed]:
    for number, value in enumerate(values, 1):
        place = f"{path}: row {number}"
        yield place, _row(place, value)


def _of_object(path: Path, content: Any) -> Iterator[Placed]:
    """The rows of its list; without one, or in a .jsonl file, it is a row itself."""
    row = _row(f"{path}:1", content)
    lists = [name for name, value in row.items() if _is_rows(value)]
    if not lists or ".jsonl" in path.name.lower():
        yield f"{path}:1", row
    elif len(lists) > 1:
        raise InputError(
            f"{path}: one object with several lists ({', '.join(lists)}); "
            "give each list a file of its own."
        )
    else:
        yield from _of_list(path, row[lists[0]])


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _row(place: str, value: Any) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{place}: not an object ({{...}}).")
    return value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(path: Path, line: int | None, text: str) -> Any:
    """The content of a line, or of the whole file."""
    place = path if line is None else f"{path}:{line}"
    try:
        return json.loads(text.rstrip(), object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        number = error.lineno if line is None else line
        raise InputError(f"{path}:{number}: not JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON: {error}.") from None


def _each_once(pairs: list[tuple[str, Any]]) -> Row:
    """An object as a dictionary, which would keep the last of two values in silence."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} comes twice in an object")
    return made
