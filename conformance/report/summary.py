"""The verdict as GitHub-flavoured Markdown, for the page of a CI job."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape

from conformance.plugin.states import BAD, STATES, worst
from conformance.report.cells import Cell, Column, Matrix, Row
from conformance.report.records import Record
from conformance.report.verdict import Verdict

LENGTH = 200  # of a reason
SHOWN = 100  # broken cells, and failures outside of laws


def summary(matrix: Matrix, records: Sequence[Record], verdict: Verdict) -> str:
    """Verdict, trainers by states, then what is bad."""
    lines = [f"## {verdict.heading}", ""]
    if verdict.rest:
        lines += ["; ".join(verdict.rest) + ".", ""]
    lines += [f"- {plain(flaw)}." for flaw in verdict.flaws]
    lines += ["", *_table(["trainer", *STATES], _trainers(matrix))]
    lines += _section("Broken", ["law", "where", "state", "reason"], _broken(matrix))
    outside = [
        [plain(failure.test), plain(failure.reason)]
        for record in records
        for failure in record.outside
    ]
    lines += _section("Failures outside of laws", ["test", "reason"], outside)
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """The first line of a text that may be anything, as nothing but text."""
    line = (text.strip().splitlines() or [""])[0]
    if len(line) > LENGTH:
        line = line[:LENGTH] + "…"
    line = "".join(letter if letter.isprintable() else " " for letter in line)
    line = re.sub(r"([\\`*_\[\]~$])", r"\\\1", escape(line, quote=False))
    # A reference never ends a cell, and an @ that is one calls nobody
    return line.replace("|", "&#124;").replace("@", "&#64;")


def _trainers(matrix: Matrix) -> Iterator[list[str]]:
    """Each law counts once for a trainer: by its worst profile."""
    for trainer in matrix.trainers:
        states: Counter[str] = Counter()
        for row in matrix.rows:
            cells = [c.state for at, c in row.cells.items() if at.trainer == trainer]
            if cells:
                states[worst(cells)] += 1
        yield [plain(trainer), *(str(states[state]) for state in STATES)]


def _broken(matrix: Matrix) -> list[list[str]]:
    return [
        _bad_line(matrix, row, column, row.cells[column])
        for row in matrix.rows
        for column in matrix.columns
        if column in row.cells and row.cells[column].state in BAD
    ]


def _bad_line(matrix: Matrix, row: Row, column: Column, cell: Cell) -> list[str]:
    where = f"{column.trainer} on {column.profile}"
    if len(matrix.machines) > 1:
        where += f", {column.machine}"
    reason = cell.reasons[0].text if cell.reasons else ""
    return [plain(row.law), plain(where), cell.state, plain(reason)]


def _section(title: str, header: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    left_out = len(rows) - SHOWN
    more = ["", f"And {left_out} more."] if left_out > 0 else []
    return ["", f"### {title}", "", *_table(header, iter(rows[:SHOWN])), *more]


def _table(header: list[str], rows: Iterator[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
