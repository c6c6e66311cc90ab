"""What became of each law, by trainer, profile and machine: the cells of the matrix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from conformance.catalogue import CHAPTERS
from conformance.law import Law
from conformance.plugin.states import (
    KNOWN_LIMIT,
    LIMIT_LIFTED,
    NOT_RUN,
    PASS,
    STATES,
    worst,
)
from conformance.profiles import PROFILES
from conformance.report.records import Part, Record


@dataclass(frozen=True)
class Column:
    """Who was tested, and where."""

    machine: str
    trainer: str
    profile: str


@dataclass(frozen=True)
class Reason:
    """Why a part of a law did not pass."""

    state: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Cell:
    """What became of one law on one trainer, profile and machine."""

    state: str
    reasons: tuple[Reason, ...] = ()
    """The worst first."""
    parts: int = 1
    not_run: int = 0
    """So many of the parts."""


@dataclass(frozen=True)
class Row:
    """One law."""

    law: str
    sentence: str
    cells: Mapping[Column, Cell]
    """Empty: no record holds it."""

    @property
    def chapter(self) -> str:
        return chapter_of(self.law)

    @property
    def state(self) -> str:
        """The worst of its cells."""
        return worst(cell.state for cell in self.cells.values())


@dataclass(frozen=True)
class Matrix:
    """All laws, chapter by chapter."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.machine for column in self.columns))

    @property
    def trainers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column.trainer for column in self.columns))

    @property
    def chapters(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.chapter for row in self.rows))

    def count(self, column: Column, chapter: str | None = None) -> Counter[str]:
        """How many laws of a chapter, or of all, are in which state there."""
        return Counter(
            row.cells[column].state
            for row in self.rows
            if column in row.cells and chapter in (None, row.chapter)
        )


def matrix(records: Sequence[Record], catalogue: Mapping[str, Law]) -> Matrix:
    """The laws of the catalogue that no record holds are rows without cells."""
    parts = [part for record in records for part in record.parts]
    machines = list(dict.fromkeys(part.machine for part in parts))
    found: dict[str, dict[Column, list[Part]]] = defaultdict(lambda: defaultdict(list))
    for part in _spread(parts, catalogue):
        found[part.law][_column(part)].append(part)
    columns = {column for cells in found.values() for column in cells}
    sentences = {law.id: law.sentence for law in catalogue.values()}
    sentences |= {part.law: part.sentence for part in parts}
    return Matrix(
        columns=tuple(sorted(columns, key=lambda column: _place(column, machines))),
        rows=tuple(
            Row(
                law,
                sentences[law],
                {column: _cell(those) for column, those in found[law].items()},
            )
            for law in sorted(sentences, key=lambda law: _number(law, catalogue))
        ),
    )


def chapter_of(law: str) -> str:
    return law.partition(".")[0]


# ---- which column a part belongs to -------------------------------------------------


def _column(part: Part) -> Column:
    return Column(part.machine, part.trainer, part.profile)


def _spread(parts: Sequence[Part], catalogue: Mapping[str, Law]) -> Iterable[Part]:
    """A test that was left out for all trainers, or profiles, is a part of each."""
    tested = {_column(part): None for part in parts if part.trainer}
    for part in parts:
        if part.trainer or part.state != NOT_RUN:
            yield part
            continue
        law = catalogue.get(part.law)
        here = [column for column in tested if column.machine == part.machine]
        places = [part.profile]
        if not part.profile:
            places = [*dict.fromkeys(column.profile for column in here)]
            places = [p for p in places if law is None or p in law.profiles] or places
        trainers = dict.fromkeys(column.trainer for column in here)
        for place in places or [""]:
            there = [column.trainer for column in here if column.profile == place]
            for trainer in there or trainers or [""]:
                yield replace(part, trainer=trainer, profile=place)


def _place(column: Column, machines: list[str]) -> tuple[int, str, int, str]:
    """Profiles come in the order of `conformance profiles`."""
    profiles = list(PROFILES)
    known = column.profile in PROFILES
    number = profiles.index(column.profile) if known else len(profiles)
    return machines.index(column.machine), column.trainer, number, column.profile


def _number(law: str, catalogue: Mapping[str, Law]) -> tuple[int, str, int, str]:
    """Chapters and laws come in the order of the catalogue, unknown ones last."""
    chapters, laws, chapter = list(CHAPTERS), list(catalogue), chapter_of(law)
    return (
        chapters.index(chapter) if chapter in CHAPTERS else len(chapters),
        chapter,
        laws.index(law) if law in catalogue else len(laws),
        law,
    )


# ---- what became of it --------------------------------------------------------------


def _cell(parts: Sequence[Part]) -> Cell:
    states = [part.state for part in parts]
    state = worst(states)
    reasons = [reason for part in parts if (reason := _reason(part)).text]
    lifted = [part.limit_place for part in parts if part.limit_place]
    if state == PASS and lifted:
        state = LIMIT_LIFTED
        reasons.append(Reason(state, f"It is kept now: remove {lifted[0]}."))
    reasons.sort(key=lambda reason: -STATES.index(reason.state))
    return Cell(
        state=state,
        reasons=tuple(dict.fromkeys(reasons)),
        parts=len(parts),
        not_run=states.count(NOT_RUN),
    )


def _reason(part: Part) -> Reason:
    text = part.reason
    if part.state == KNOWN_LIMIT:
        text = f"{part.limit}\n{part.reason}".strip()
    return Reason(part.state, text)
