"""The matrix as one HTML page: its script filters rows, and nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from conformance.catalogue import CHAPTERS
from conformance.plugin.states import (
    BAD,
    CRASH,
    FAIL,
    KNOWN_LIMIT,
    LIMIT_LIFTED,
    NOT_RUN,
    PASS,
    STATES,
    TIMEOUT,
)
from conformance.report.cells import Column, Matrix, Reason, Row
from conformance.report.changes import KINDS, Change
from conformance.report.records import Record
from conformance.report.verdict import Verdict, number
from conformance.report.when import moment, run_of

TEMPLATES = Path(__file__).parents[1] / "templates"
SYMBOLS = {
    PASS: "✓",
    NOT_RUN: "○",
    KNOWN_LIMIT: "◐",
    LIMIT_LIFTED: "↑",
    FAIL: "✗",
    TIMEOUT: "◷",
    CRASH: "!",
}
"""So that no state is told by its colour alone."""
MEANINGS = {
    PASS: "the trainer keeps the law",
    NOT_RUN: "nothing is known: hardware, a library or the time was missing",
    KNOWN_LIMIT: "it fails, and its author says why",
    LIMIT_LIFTED: "it passes although a limit stands: remove the limit",
    FAIL: "the trainer breaks the law",
    TIMEOUT: "its run took too long and was ended",
    CRASH: "its process was lost, or raised an error",
}
UNNAMED = "no trainer"
AILING_SHOWN = 10  # above the matrix, which shows all


def page(
    matrix: Matrix,
    records: Sequence[Record],
    verdict: Verdict,
    now: datetime,
    changed: Sequence[Change] | None = None,
) -> str:
    """The whole page. `now`: what ages are counted to. `changed`: None if no former
    run was given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # reasons are whatever a trainer said
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (TEMPLATES / "matrix.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    kinds = {kind: [c for c in changed or () if c.kind == kind] for kind in KINDS}
    chapters = [_chapter(matrix, name) for name in matrix.chapters]
    return environment.get_template("matrix.html.jinja").render(
        matrix=matrix,
        verdict=verdict,
        trainers=[(_name(trainer), trainer) for trainer in matrix.trainers],
        columns=[(_name(c.trainer), c) for c in matrix.columns],
        groups=_groups(matrix),
        machine_names=_machine_names(matrix),
        overview=_overview(matrix),
        chapters=chapters,
        ailing=[
            (row, whys)
            for chapter in chapters
            for row, whys in chapter.rows
            if row.law in {*verdict.broken, *verdict.lifted}
        ],
        most=AILING_SHOWN,
        runs=[run_of(record, now) for record in records],
        outside=[failure for record in records for failure in record.outside],
        changed=None if changed is None else kinds,
        states=STATES,
        bad=BAD,
        symbols=SYMBOLS,
        meanings=MEANINGS,
        number=number,
        made=moment(now.timestamp()),
        script=Markup(script),
        # The one script that may run, and nothing may be fetched
        policy=f"default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'",
    )


# ---- columns ------------------------------------------------------------------------


def _name(trainer: str) -> str:
    return trainer or UNNAMED


def _machine_names(matrix: Matrix) -> dict[str, str]:
    """Short names where there are several; one is named once, above."""
    several = len(matrix.machines) > 1
    return {
        machine: f"machine {n}" if several else ""
        for n, machine in enumerate(matrix.machines, start=1)
    }


@dataclass(frozen=True)
class Group:
    """Columns side by side of one trainer on one machine."""

    trainer: str
    name: str
    machine: str
    width: int


def _groups(matrix: Matrix) -> list[Group]:
    def of(column: Column) -> tuple[str, str]:
        return column.machine, column.trainer

    names = _machine_names(matrix)
    return [
        Group(trainer, _name(trainer), names[machine], len(list(those)))
        for (machine, trainer), those in groupby(matrix.columns, key=of)
    ]


# ---- counts -------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """The counts of one trainer, profile and machine: all laws, then by chapter."""

    column: Column
    name: str
    height: int
    """Lines of its trainer, at the first of them; else 0."""
    counts: list[tuple[str, Mapping[str, int]]]


def _overview(matrix: Matrix) -> list[Line]:
    heights = [
        height
        for group in _groups(matrix)
        for height in (group.width, *[0] * (group.width - 1))
    ]
    return [
        Line(
            column,
            _name(column.trainer),
            height,
            [
                ("", matrix.count(column)),
                *((name, matrix.count(column, name)) for name in matrix.chapters),
            ],
        )
        for column, height in zip(matrix.columns, heights, strict=True)
    ]


# ---- laws ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Why:
    """A reason, and the columns that have it."""

    reason: Reason
    where: str


@dataclass(frozen=True)
class Chapter:
    """A chapter of laws; the description of an unknown one is empty."""

    name: str
    description: str
    rows: list[tuple[Row, list[Why]]]
    missing: int
    """Laws that no record holds."""


def _chapter(matrix: Matrix, name: str) -> Chapter:
    rows = [row for row in matrix.rows if row.chapter == name]
    return Chapter(
        name,
        CHAPTERS.get(name, ""),
        [(row, _whys(row, matrix)) for row in rows],
        sum(not row.cells for row in rows),
    )


def _whys(row: Row, matrix: Matrix) -> list[Why]:
    """Each reason once, the worst first."""
    found: dict[Reason, list[Column]] = defaultdict(list)
    for column in matrix.columns:
        if column in row.cells:
            for reason in row.cells[column].reasons:
                found[reason].append(column)
    worst_first = sorted(found, key=lambda reason: -STATES.index(reason.state))
    return [Why(reason, _where(found[reason], matrix)) for reason in worst_first]


def _where(columns: Sequence[Column], matrix: Matrix) -> str:
    """flax on cpu, cpu-x2; pytorch on cpu."""
    names = _machine_names(matrix)
    by_trainer: dict[tuple[str, str], list[str]] = defaultdict(list)
    for column in columns:
        by_trainer[_name(column.trainer), names[column.machine]].append(column.profile)
    return "; ".join(
        f"{trainer} on {', '.join(filter(None, profiles)) or 'any profile'}"
        + (f" ({machine})" if machine else "")
        for (trainer, machine), profiles in by_trainer.items()
    )
