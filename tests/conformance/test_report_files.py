"""`conformance report` as a command: its files, its exit status and its refusals."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conformance.__main__ import main
from conformance.report import command
from conformance.report.badge import AMBER, GREEN, RED
from conformance.report.summary import plain
from tests.conformance.record_files import failure, phase, write_record


@pytest.fixture(autouse=True)
def no_catalogue(monkeypatch):
    """Laws are those of the records."""
    monkeypatch.setattr(command, "laws", dict)


def report(record: Path, *flags: str) -> int:
    folder = record.parent
    files = ("-o", "matrix.html", "--badge", "badge.svg", "--summary", "summary.md")
    named = [name if name.startswith("-") else str(folder / name) for name in files]
    return main(["report", str(record), *named, *flags])


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"run.json", "before.json"}


@pytest.mark.parametrize(
    ("line", "status", "badge", "colour"),
    [
        (phase("order.a"), 0, "2 of 2 laws", GREEN),
        (phase("order.a", "not run", "no GPU"), 0, "1 of 2 laws", AMBER),
        (phase("order.a", "known limit", "no", limit="Why."), 0, "1 of 2 laws", AMBER),
        (phase("order.a", "fail", "no"), 1, "1 of 2 laws", RED),
        (phase("order.a", "timeout", "no"), 1, "1 of 2 laws", RED),
        (phase("order.a", "crash", "no"), 1, "1 of 2 laws", RED),
        (phase("order.a", limit="Why."), 1, "1 of 2 laws", RED),
        (failure("x.py", "no module"), 1, "1 of 1 law", RED),
    ],
)
def test_status_and_badge(line, status, badge, colour, tmp_path, capsys):
    record = write_record(tmp_path / "run.json", [phase("order.b"), line])
    assert report(record) == status
    assert written(tmp_path) == {"matrix.html", "badge.svg", "summary.md"}
    svg = (tmp_path / "badge.svg").read_text()
    words = ["".join(e.itertext()) for e in ElementTree.fromstring(svg).iter()]
    assert "conformance" in words
    assert badge in words
    assert colour in svg
    assert f"page: {tmp_path / 'matrix.html'}" in capsys.readouterr().out


def test_nothing_tested_passes_nothing(tmp_path, capsys):
    assert report(write_record(tmp_path / "run.json", [])) == 1
    assert "No law is kept" in capsys.readouterr().out


def test_a_record_that_is_cut_off_is_bad(tmp_path, capsys):
    record = write_record(tmp_path / "run.json", [phase("order.a")], end=None)
    assert report(record) == 1
    assert "1 record not whole" in capsys.readouterr().out
    assert "it is cut off" in (tmp_path / "summary.md").read_text()


def test_a_former_run_is_compared(tmp_path):
    record = write_record(tmp_path / "run.json", [phase("order.a")])
    before = write_record(tmp_path / "before.json", [phase("order.a", "fail", "no")])
    assert report(record, "--before", str(before)) == 0
    assert "Better" in (tmp_path / "matrix.html").read_text()


def test_the_summary_has_the_verdict_the_trainers_and_what_is_broken(tmp_path):
    evil = "a | b <img src=x> `code` *x* [l](u) @you ![i](u)\n| second | line |"
    lines = [
        phase("order.a"),
        phase("order.b", "fail", evil),
        phase("order.b", profile="gpu"),
        failure("x.py", evil),
    ]
    report(write_record(tmp_path / "run.json", lines))
    said = (tmp_path / "summary.md").read_text()
    assert said.startswith("## 1 law is broken, 1 failure outside of laws\n")
    assert "| mine:TRAINER | 1 | 0 | 0 | 0 | 1 | 0 | 0 |" in said
    (broken,) = [line for line in said.splitlines() if line.startswith("| order.b")]
    cells = re.split(r"(?<!\\)\|", broken)[1:-1]
    assert [cell.strip() for cell in cells[:3]] == [
        *("order.b", "mine:TRAINER on cpu", "fail")
    ]
    assert len(cells) == 4
    assert "<" not in said
    assert "second" not in said
    assert r"&#124; b &lt;img src=x&gt; \`code\` \*x\* \[l\](u) &#64;you" in broken


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("\n one\ntwo", "one"),
        ("a\\|b", "a\\\\&#124;b"),
        ("a\x1b[31m\tb", "a \\[31m b"),
        ("&amp;", "&amp;amp;"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_plain_text_is_one_line_of_nothing_but_text(text, said):
    assert plain(text) == said


# ---- refusals -----------------------------------------------------------------------


def refused(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["report", *argv])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("place", ["record", "before"])
def test_no_record_is_refused_and_nothing_is_written(place, tmp_path, capsys):
    good = write_record(tmp_path / "run.json", [phase("order.a")])
    wrong = tmp_path / "before.json"
    wrong.write_text("{}\n")
    inputs = [str(wrong)] if place == "record" else [str(good), "--before", str(wrong)]
    out = str(tmp_path / "matrix.html")
    said = refused(capsys, *inputs, "-o", out, "--badge", str(tmp_path / "b.svg"))
    assert said.startswith(f"{wrong}:1: this is no line of a record")
    assert written(tmp_path) == set()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["-o", "{}/no/matrix.html"], "there is no folder {}/no."),
        (["-o", "{}"], "it is a folder; name a file."),
        (["-o", "{}/run.json"], "it would replace the record {}/run.json."),
        (["-o", "{}/x", "--badge", "{}/x"], "it would replace what -o writes."),
        (["-o", "{}/x", "--bagde", "{}/y"], "unrecognized arguments: --bagde"),
        ([], "required: -o/--output"),
    ],
)
def test_what_cannot_be_written_is_refused_first(flags, sentence, tmp_path, capsys):
    record = write_record(tmp_path / "run.json", [phase("order.a")])
    before = record.read_text()
    said = refused(capsys, str(record), *[flag.format(tmp_path) for flag in flags])
    assert sentence.format(tmp_path) in said
    assert written(tmp_path) == set()
    assert record.read_text() == before
