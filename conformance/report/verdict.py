"""What it comes to: the one sentence above the page, and whether the run is bad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.plugin.states import BAD, KNOWN_LIMIT, LIMIT_LIFTED, NOT_RUN, PASS
from conformance.report.cells import Matrix
from conformance.report.records import Record


@dataclass(frozen=True)
class Verdict:
    """Each law is counted once, by the worst of its cells."""

    laws: int
    kept: int
    """By those that were tested; a known limit is none that keeps it."""
    trainers: tuple[str, ...]
    """Those that keep any."""
    broken: tuple[str, ...]
    lifted: tuple[str, ...]
    limited: int
    not_run: int
    outside: int
    """Failures that are no law's."""
    flaws: tuple[str, ...]
    """Of records that are not whole: a sentence each."""

    @property
    def bad(self) -> bool:
        """As a run of the suite fails; a record without a kept law passes nothing."""
        ailing = self.broken or self.lifted or self.outside or self.flaws
        return bool(ailing) or not self.kept

    @property
    def complete(self) -> bool:
        """Every law is kept."""
        return not self.bad and self.kept == self.laws

    @property
    def heading(self) -> str:
        """One sentence, the worst first."""
        said = []
        if self.broken:
            said.append(f"{number(len(self.broken), 'law')} {are(self.broken)} broken")
        if self.lifted:
            what = number(len(self.lifted), "limit")
            said.append(f"{what} {are(self.lifted)} lifted")
        if self.outside:
            said.append(f"{number(self.outside, 'failure')} outside of laws")
        if self.flaws:
            said.append(f"{number(len(self.flaws), 'record')} not whole")
        if said:
            return ", ".join(said)
        if not self.kept:
            return "No law is kept: nothing was tested"
        return self.keeping

    @property
    def keeping(self) -> str:
        """Who keeps how many."""
        verb = "keeps" if len(self.trainers) == 1 else "keep"
        who = number(len(self.trainers), "trainer")
        return f"{who} {verb} {number(self.kept, 'law')}"

    @property
    def rest(self) -> list[str]:
        """What the heading leaves out."""
        said = []
        if self.heading != self.keeping:
            said.append(f"{self.kept} of {number(self.laws, 'law')} kept")
        if self.limited:
            said.append(f"{number(self.limited, 'law')} under a known limit")
        if self.not_run:
            said.append(f"{number(self.not_run, 'law')} not run")
        return said


def verdict_of(matrix: Matrix, records: Sequence[Record]) -> Verdict:
    """Counts."""
    states = [row.state for row in matrix.rows]
    return Verdict(
        laws=len(matrix.rows),
        kept=states.count(PASS),
        trainers=tuple(
            trainer
            for trainer in matrix.trainers
            if any(
                cell.state == PASS and column.trainer == trainer
                for row in matrix.rows
                for column, cell in row.cells.items()
            )
        ),
        broken=tuple(
            row.law
            for row in matrix.rows
            if row.state in BAD and row.state != LIMIT_LIFTED
        ),
        lifted=tuple(
            row.law
            for row in matrix.rows
            if any(cell.state == LIMIT_LIFTED for cell in row.cells.values())
        ),
        limited=states.count(KNOWN_LIMIT),
        not_run=states.count(NOT_RUN),
        outside=sum(len(record.outside) for record in records),
        flaws=tuple(f"{r.name}: {r.flaw}" for r in records if r.flaw),
    )


def number(count: int, what: str) -> str:
    """1 law, 2 laws."""
    return f"{count} {what}{'s' * (count != 1)}"


def are(those: Sequence[object]) -> str:
    return "is" if len(those) == 1 else "are"
