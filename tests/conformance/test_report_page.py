"""The page: what it says, that it is text alone, and that it works in a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from conformance.law import Law
from conformance.plugin.states import STATES
from conformance.report.cells import matrix
from conformance.report.changes import changes
from conformance.report.page import SYMBOLS, page
from conformance.report.records import read_record
from conformance.report.verdict import verdict_of
from conformance.report.when import age
from tests.browser import looked_at, opened, text, without_policy
from tests.conformance.record_files import (
    MACHINE,
    STARTED,
    failure,
    phase,
    write_record,
)

EVIL = "</pre><script>alert(1)</script> & \"quoted\" 'so'\nsecond line"
LINES = [
    phase("order.a"),
    phase("resume.kept", test="1"),
    phase("resume.kept", "not run", "not run: needs 1 GPU", test="2"),
    phase("resume.broken", "fail", EVIL),
    phase("resume.broken", trainer="other"),
    phase("arithmetic.slow", "timeout", "Timeout", trainer="other"),
]
NOW = datetime.fromtimestamp(STARTED + 3 * 86400, UTC)
CATALOGUE = {
    "results.missing": Law(
        "results.missing", "It is nowhere.", ("cpu",), (), False, lambda: None
    )
}


def made(folder: Path, *runs: list, before: list | None = None, end=None) -> str:
    ends = {"end": None} if end == "cut off" else {}
    records = [
        read_record(write_record(folder / f"{number}.json", lines, **ends))
        for number, lines in enumerate(runs)
    ]
    found = matrix(records, CATALOGUE)
    changed = None
    if before is not None:
        former = read_record(write_record(folder / "before.json", before))
        changed = changes(matrix([former], CATALOGUE), found)
    return page(found, records, verdict_of(found, records), NOW, changed)


def test_heading_machine_time_and_versions(tmp_path):
    said = text(made(tmp_path, LINES))
    assert "2 laws are broken" in said
    assert "2 of 5 laws kept; 1 law not run." in said
    assert said.count(MACHINE) == 1
    assert "2026-09-21 14:13 UTC , for 10 minutes; 3 days before" in said
    assert "python 3.11.7, numpy 2.4.6" in said


def test_a_page_of_kept_laws_says_so(tmp_path):
    assert "1 trainer keeps 1 law" in text(made(tmp_path, [phase("order.a")]))


def test_every_state_has_a_symbol_and_a_word(tmp_path):
    assert len({SYMBOLS[state] for state in STATES}) == len(STATES)
    said = text(made(tmp_path, LINES))
    for state in STATES:
        assert f"{SYMBOLS[state]} {state}" in said


def test_reasons_are_text(tmp_path):
    html = made(tmp_path, [*LINES, failure("<i>x</i>", EVIL)])
    assert html.count("<script>") == 1
    assert "alert(1)&lt;/script&gt;" in html
    assert "&lt;i&gt;x" in html
    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert "url(" not in html


def test_a_law_row_says_its_parts_and_reasons(tmp_path):
    html = made(tmp_path, LINES)
    row = html[html.index('<tr data-law="resume.kept"') :]
    said = text(row[: row.index("</tr>")])
    assert "1 of 2 parts not run" in said
    assert "mine:TRAINER on cpu not run: needs 1 GPU" in said
    row = html[html.index('<tr data-law="results.missing"') :]
    assert "not run in no record here It is nowhere." in text(row[: row.index("</tr>")])


def test_machines_are_numbered_where_there_are_several(tmp_path):
    other = [phase("order.a", machine="Linux aarch64")]
    said = text(made(tmp_path, LINES, other))
    assert f"Machine 1 {MACHINE}" in said
    assert "Machine 2 Linux aarch64" in said


def test_cut_off_records_and_failures_outside_of_laws_are_shown(tmp_path):
    said = text(made(tmp_path, [failure("test_x.py", "no module")], end="cut off"))
    assert "1 failure outside of laws, 1 record not whole" in said
    assert "0.json: it is cut off" in said
    assert "test_x.py no module" in said


def test_changes_are_shown_where_a_former_run_is_given(tmp_path):
    assert "What changed" not in text(made(tmp_path, LINES))
    said = text(made(tmp_path, LINES, before=LINES))
    assert "Nothing: every cell is what it was." in said
    said = text(made(tmp_path, LINES, before=[phase("resume.broken"), *LINES[:3]]))
    assert "resume.broken mine:TRAINER cpu ✓ pass ✗ fail" in said
    assert "Appeared : 2 cells" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 minutes"),
        (60, "1 minute"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (86400, "24 hours"),
        (172800, "2 days"),
    ],
)
def test_an_age_is_in_whole_units(seconds, said):
    assert age(seconds) == said


# ---- in a browser -------------------------------------------------------------------

MEASURE = """<script>
document.documentElement.dataset.width = document.documentElement.scrollWidth;
</script></html>"""


@pytest.fixture
def browse(tmp_path):
    """Opens a page in Chromium: ``browse(html, "#state=fail", "--dump-dom")``."""
    return partial(opened, tmp_path)


def laws_shown(dom: str) -> set[str]:
    rows = re.findall(r"<tr [^>]*data-law=[^>]*>", dom)
    assert len(rows) == 5
    return {
        re.findall('data-law="([^"]+)"', row)[0] for row in rows if " hidden" not in row
    }


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("", {"resume.kept", "resume.broken"} | {"order.a", "arithmetic.slow"}),
        ("#state=fail&text=resume", {"resume.broken"}),
        ("#state=bad", {"resume.broken", "arithmetic.slow"}),
        ("#chapter=resume&trainer=other", {"resume.kept", "resume.broken"}),
        ("#state=fail&trainer=other", set()),
        ("#text=NEEDS%201%20gpu", {"resume.kept"}),
        ("#state=not+run&chapter=results", {"results.missing"}),
    ],
)
def test_the_address_filters_the_laws(fragment, shown, tmp_path, browse):
    dom = browse(made(tmp_path, LINES), fragment, "--dump-dom")
    assert laws_shown(dom) == shown | ({"results.missing"} if not fragment else set())
    assert f"{len(laws_shown(dom))} of 5 laws shown" in dom
    root = re.findall("<html[^>]*>", dom)[0]
    assert "data-error" not in root
    hidden = re.findall(r'<th [^>]*data-trainer="mine:TRAINER"[^>]* hidden', dom)
    assert bool(hidden) == ("trainer=other" in fragment)


def test_links_and_the_form_filter_an_open_page(tmp_path, browse):
    """A page of its own, without the policy, which lets no other script in."""
    drive = """<script>
    location.hash = "#chapter=order";
    setTimeout(() => {
      document.documentElement.dataset.followed =
        document.querySelector("#shown").textContent;
      form.elements.text.value = "no such law";
      form.dispatchEvent(new Event("input"));
    }, 100);
    </script></html>"""
    html = made(tmp_path, LINES).replace("</html>", drive)
    dom = browse(without_policy(html), "", "--dump-dom")
    assert 'data-followed="1 of 5 laws shown"' in dom
    assert "0 of 5 laws shown" in dom
    assert "data-error" not in re.findall("<html[^>]*>", dom)[0]


def test_a_script_error_would_be_seen(tmp_path, browse):
    html = made(tmp_path, LINES).replace("</html>", "<script>nothing()</script></html>")
    assert 'data-error="' in browse(without_policy(html), "", "--dump-dom")
    assert 'data-error="' not in browse(html, "", "--dump-dom"), "the policy let it in"


def test_a_wide_matrix_scrolls_in_its_own_box(tmp_path, browse):
    lines = [
        phase(
            "order.a", "fail", "long" * 400, trainer=f"a.package:TRAINER{n}", profile=p
        )
        for n in range(6)
        for p in ("cpu", "cpu-float64", "cpu-bf16", "gpu")
    ]
    html = made(tmp_path, lines, before=[]).replace("</html>", MEASURE)
    dom = browse(without_policy(html), "", "--dump-dom")
    assert int(re.findall('data-width="([0-9]+)"', dom)[0]) <= 1200


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_drawn_in_light_and_in_dark(dark, tmp_path, browse):
    picture = tmp_path / "page.png"
    flags = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    browse(made(tmp_path, LINES), "", f"--screenshot={picture}", *flags)
    corner, kinds = looked_at(picture)
    assert kinds > 100, "almost all rows are alike: it is blank"
    assert (corner < 128) == dark
