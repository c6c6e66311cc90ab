"""From the lines of records to the cells of the matrix, and what changed in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.law import Law
from conformance.report.cells import Column, Matrix, matrix
from conformance.report.changes import changes
from conformance.report.records import read_record
from conformance.report.verdict import verdict_of
from reference_trainers.errors import InputError
from tests.conformance.record_files import (
    FINISH,
    MACHINE,
    START,
    STARTED,
    failure,
    phase,
    write_record,
)

MINE = Column(MACHINE, "mine:TRAINER", "cpu")
SKIP = "not run: takes long; run by --law order.a"


def law(id: str, *profiles: str) -> Law:
    return Law(id, f"What {id} says.", profiles, (), False, lambda: None)


CATALOGUE = {
    found.id: found for found in (law("order.a", "cpu"), law("arithmetic.b", "cpu"))
}


def cells(path: Path, *lines) -> Matrix:
    return matrix([read_record(write_record(path / "run.json", lines))], CATALOGUE)


def states(found: Matrix, law: str) -> dict[tuple[str, str], str]:
    (row,) = [row for row in found.rows if row.law == law]
    return {(at.trainer, at.profile): cell.state for at, cell in row.cells.items()}


def test_a_cell_is_its_worst_part_and_counts_those_not_run(tmp_path):
    found = cells(
        tmp_path,
        phase("order.a", test="1"),
        phase("order.a", "not run", "not run: no GPU", test="2"),
        phase("arithmetic.b", "pass", test="3"),
        phase("arithmetic.b", "fail", "step 7\nloss", test="4"),
        phase("arithmetic.b", "crash", "lost", test="5"),
    )
    kept, broken = (row.cells[MINE] for row in found.rows)
    assert (kept.state, kept.parts, kept.not_run) == ("pass", 2, 1)
    assert (broken.state, broken.not_run) == ("crash", 0)
    assert [reason.first_line for reason in broken.reasons] == ["lost", "step 7"]


def test_what_is_skipped_in_setup_is_not_run_though_it_is_torn_down_well(tmp_path):
    found = cells(
        tmp_path,
        phase("order.a", "not run", "not run: no GPU", when="setup"),
        phase("order.a", "pass", "not run: no GPU"),
    )
    assert states(found, "order.a") == {("mine:TRAINER", "cpu"): "not run"}


def test_a_law_that_passes_under_a_limit_has_its_limit_lifted(tmp_path):
    found = cells(
        tmp_path,
        phase("order.a", limit="Measured.", test="1"),
        phase("order.a", "not run", "no GPU", limit="Measured.", test="2"),
        phase("arithmetic.b", limit="Measured.", test="3"),
        phase("arithmetic.b", "known limit", "3 != 4", limit="Measured.", test="4"),
    )
    lifted, known = (row.cells[MINE] for row in found.rows)
    assert lifted.state == "limit lifted"
    assert "remove --limits limits.toml, limit 1" in lifted.reasons[0].text
    assert (known.state, known.reasons[0].text) == ("known limit", "Measured.\n3 != 4")


def test_a_law_left_out_for_all_is_not_run_by_each(tmp_path):
    found = cells(
        tmp_path,
        phase("arithmetic.b", trainer="a"),
        phase("arithmetic.b", trainer="b"),
        phase("arithmetic.b", trainer="b", profile="gpu"),
        phase("order.a", "pass", SKIP, trainer="", profile=""),
        phase("order.c", "not run", "no such", trainer="", profile="gpu"),
    )
    assert states(found, "order.a") == {
        ("a", "cpu"): "not run",
        ("b", "cpu"): "not run",
    }
    assert states(found, "order.c") == {("b", "gpu"): "not run"}
    row = found.rows[0]
    assert {reason.text for c in row.cells.values() for reason in c.reasons} == {SKIP}


def test_a_record_of_nothing_but_what_was_left_out_has_a_column(tmp_path):
    found = cells(tmp_path, phase("order.a", "not run", SKIP, trainer="", profile=""))
    assert states(found, "order.a") == {("", ""): "not run"}


def test_laws_that_no_record_holds_are_there(tmp_path):
    found = cells(tmp_path, phase("order.a"), phase("zoo.z"), phase("order.new"))
    laws = [row.law for row in found.rows]
    assert laws == ["order.a", "order.new", "arithmetic.b", "zoo.z"]
    missing = found.rows[2]
    assert (missing.cells, missing.state) == ({}, "not run")


def test_machines_stand_side_by_side_and_the_same_one_is_one(tmp_path):
    paths = [
        write_record(tmp_path / "1", [phase("order.a", profile="cpu-x2")]),
        write_record(tmp_path / "2", [phase("order.a", machine="other")]),
        write_record(tmp_path / "3", [phase("order.a", "fail", "no")]),
    ]
    found = matrix([read_record(path) for path in paths], CATALOGUE)
    assert found.columns == (
        MINE,
        Column(MACHINE, "mine:TRAINER", "cpu-x2"),
        Column("other", "mine:TRAINER", "cpu"),
    )
    assert found.count(MINE) == {"fail": 1}
    assert found.count(MINE, "arithmetic") == {}


# ---- records ------------------------------------------------------------------------


def test_a_test_that_never_ended_is_a_crash(tmp_path):
    dead = failure("dead", "worker 'gw1' crashed while running 'dead'", "TestReport")
    record = read_record(
        write_record(
            tmp_path / "run.json",
            [
                phase("order.a", when="setup", test="dead"),
                dead,
                phase("arithmetic.b", when="setup", test="begun"),
            ],
        )
    )
    assert [part.state for part in record.parts] == ["crash", "crash"]
    assert record.parts[0].reason == dead["longrepr"]
    assert [failure.test for failure in record.outside] == ["dead"]


@pytest.mark.parametrize(
    ("longrepr", "said"),
    [
        ("E   ModuleNotFoundError", "E   ModuleNotFoundError"),
        ({"reprcrash": {"message": "boom"}, "reprtraceback": {}}, "boom"),
        ({"reprcrash": None}, ""),
        (None, ""),
    ],
)
def test_failures_outside_of_laws_are_kept(longrepr, said, tmp_path):
    lines = [phase("order.a"), failure("x.py", longrepr)]
    record = read_record(write_record(tmp_path / "run.json", lines))
    assert [(one.test, one.reason) for one in record.outside] == [("x.py", said)]
    found = verdict_of(matrix([record], CATALOGUE), [record])
    assert (found.bad, found.heading) == (True, "1 failure outside of laws")


def test_a_record_says_when_and_with_what(tmp_path):
    record = read_record(write_record(tmp_path / "run.json", [phase("order.a")]))
    assert (record.started, record.ended) == (STARTED, STARTED + 600)
    assert record.versions == ("python 3.11.7, numpy 2.4.6",)
    assert (record.machines, record.flaw) == ((MACHINE,), "")


@pytest.mark.parametrize("tail", ["", '{"nodeid": "order', "\n"])
def test_a_record_that_is_cut_off_says_so(tail, tmp_path):
    path = write_record(tmp_path / "run.json", [phase("order.a")], end=None)
    path.write_text(path.read_text() + tail)
    record = read_record(path)
    assert record.flaw.startswith("it is cut off")
    assert len(record.parts) == 1


def test_a_run_that_was_interrupted_says_so(tmp_path):
    end = {**FINISH, "exitstatus": 2}
    record = read_record(write_record(tmp_path / "run.json", [], end))
    assert "(exit status 2)" in record.flaw


def test_a_record_need_not_end_in_a_newline(tmp_path):
    path = write_record(tmp_path / "run.json", [phase("order.a")])
    path.write_text(path.read_text().rstrip())
    assert read_record(path).flaw == ""


def pairs(**changed: str | None) -> str:
    line = phase("order.a")
    said = {**dict(line["user_properties"]), **changed}
    kept = [[name, value] for name, value in said.items() if value is not None]
    return json.dumps({**line, "user_properties": kept})


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([""], ":1: this is no line of a record"),
        (["<html>"], ":1: this is no line of a record"),
        (['{"a": 1}'], ":1: this is no line of a record"),
        ([json.dumps(FINISH)], ":1: a record begins with SessionStart"),
        (
            [json.dumps(START), "{", json.dumps(FINISH)],
            ":2: this is no line of a record",
        ),
        ([json.dumps(START), "[" * 100_000 + "\n"], ":2: this is no line of a record"),
        (
            [json.dumps(START), pairs(state="odd")],
            ":2: the state 'odd' is none of pass",
        ),
        (
            [json.dumps(START), pairs(profile=None)],
            ":2: a line of order.a has no profile",
        ),
        (
            [json.dumps(START), json.dumps({**phase("a.b"), "user_properties": [3]})],
            ":2: user_properties is no list of pairs",
        ),
    ],
)
def test_what_is_no_record_is_refused_with_its_line(lines, sentence, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert f"{path}{sentence}" in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_record(tmp_path / "run.json")


# ---- changes ------------------------------------------------------------------------


def test_changes_are_told_cell_by_cell_the_worst_first(tmp_path):
    before = cells(
        tmp_path,
        phase("order.a", "fail", machine="former"),
        phase("arithmetic.b", machine="former"),
        phase("arithmetic.b", profile="gpu", machine="former"),
        phase("arithmetic.c", machine="former"),
    )
    now = cells(
        tmp_path,
        phase("order.a"),
        phase("arithmetic.b", "crash"),
        phase("arithmetic.c"),
        phase("arithmetic.c", profile="gpu"),
    )
    found = changes(before, now)
    assert [(c.kind, c.law, c.column.profile, c.was, c.now) for c in found] == [
        ("worse", "arithmetic.b", "cpu", "pass", "crash"),
        ("better", "order.a", "cpu", "fail", "pass"),
        ("vanished", "arithmetic.b", "gpu", "pass", None),
        ("appeared", "arithmetic.c", "gpu", None, "pass"),
    ]
    assert changes(now, now) == []


def test_several_machines_are_matched_by_name(tmp_path):
    before = cells(tmp_path, phase("order.a", machine="former"))
    now = cells(tmp_path, phase("order.a"), phase("order.a", machine="other"))
    assert sorted(change.kind for change in changes(before, now)) == [
        *("appeared", "appeared", "vanished")
    ]
