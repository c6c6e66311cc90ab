"""What changed since a former run, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from conformance.plugin.states import STATES
from conformance.report.cells import Cell, Column, Matrix

KINDS = ("worse", "better", "vanished", "appeared")
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Change:
    """One cell that is not what it was."""

    law: str
    column: Column
    was: str | None
    """None: there was no such cell."""
    now: str | None
    """None: there is none any more."""

    @property
    def kind(self) -> str:
        if self.was is None:
            return "appeared"
        if self.now is None:
            return "vanished"
        worse = STATES.index(self.now) > STATES.index(self.was)
        return "worse" if worse else "better"


def changes(before: Matrix, now: Matrix) -> list[Change]:
    """The worst kind first; laws in the order of the matrix.

    Machines are matched by name, but where each run had one they are matched anyway:
    a hired machine is seldom the same one twice.
    """
    was, is_now = _cells(before), _cells(now)
    if len(before.machines) == len(now.machines) == 1:
        (machine,) = now.machines
        was = {
            (law, replace(column, machine=machine)): cell
            for (law, column), cell in was.items()
        }
    found = [
        Change(*key, _state(was.get(key)), _state(is_now.get(key)))
        for key in {**is_now, **was}
    ]
    found = [change for change in found if change.was != change.now]
    return sorted(found, key=lambda change: KINDS.index(change.kind))


def _cells(matrix: Matrix) -> dict[tuple[str, Column], Cell]:
    return {
        (row.law, column): row.cells[column]
        for row in matrix.rows
        for column in matrix.columns
        if column in row.cells
    }


def _state(cell: Cell | None) -> str | None:
    return cell.state if cell else None
