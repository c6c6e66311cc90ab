"""The page: its figures are those of the records, and it works in a browser."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.report import main
from tests.benchmarks.bench_records import benchmark, floor, write_bench_record
from tests.browser import looked_at, opened, text, without_policy

ONE, TWO = "Linux x86_64, 2 cores, 2 threads", "Big <b>, 8 cores"
EVIL = "</script><script>alert(1)</script>"


def records(folder: Path, **second: Any) -> list[Path]:
    """Two machines; the other is twice as fast, and has one benchmark in bf16."""
    mine = [
        benchmark(seconds=(0.48, 0.50, 0.52), joules=8.0),
        benchmark("flax", seconds=(0.2, 0.25, 0.3)),
        benchmark("flax", "evaluation", seconds=(0.1, 0.1, 0.1)),
    ]
    theirs = [
        benchmark(seconds=(0.24, 0.25, 0.26)),
        benchmark("flax", seconds=(0.1, 0.1, 0.1)),
        benchmark("flax", precision="bf16", spec_hash="bbbb", seconds=(0.05,)),
        benchmark(devices=2, batch=8, seconds=(0.15,)),
    ]
    other: dict[str, Any] = {"kind": TWO, "cores": 8, "threads": None} | second
    return [
        write_bench_record(folder / "one.json", *mine),
        write_bench_record(folder / "two.json", *theirs, **other),
    ]


def made(folder: Path, *flags: str, paths: list[Path] | None = None) -> str:
    page = folder / "hardware.html"
    assert main([*map(str, paths or records(folder)), "-o", str(page), *flags]) == 0
    return page.read_text(encoding="utf-8")


def table(html: str) -> list[dict[str, str]]:
    """Figures of the table, by name."""
    return [
        {name: text(cell) for name, cell in _CELL.findall(row)}
        for row in re.findall(r"<tr data-row=.*?</tr>", html, flags=re.DOTALL)
    ]


_CELL = re.compile(r'<td data-figure="(\w+)">(.*?)</td>')


def test_the_table_has_what_the_records_say(tmp_path):
    found = table(made(tmp_path))
    assert len(found) == 7
    assert found[0] == {
        "samples_per_second": "8 (7.277 to 8.883)",
        "tokens_per_second": "800 (727.7 to 888.3)",
        "mfu": "2 % (1.819 to 2.221)",
        "tokens_per_joule": "50",
        "seconds": "0.5 (0.4503 to 0.5497)",
        "peak_host_bytes": "3.0 MiB",
        "peak_device_bytes": "",
    }
    assert found[3]["tokens_per_second"].startswith("1600 (")


def test_floors_stand_beside_the_speeds(tmp_path, browse):
    fast = benchmark("flax", floors={"compiled": floor(1.25)})
    paths = [write_bench_record(tmp_path / "one.json", benchmark(), fast)]
    html = made(tmp_path, paths=paths)
    assert "× its compiled floor" in text(html)
    assert [row["floor_compiled"] for row in table(html)] == [
        "",
        "1.25 (1.238 to 1.262)",
    ]
    (step,) = bars(browse(html, "#figure=floor_compiled", "--dump-dom"))
    assert step == [("flax", 1, 1.25)]


def test_machines_records_and_scaling_are_told(tmp_path):
    said = text(made(tmp_path))
    assert "2 machines, 7 benchmarks" in said
    assert "two.json: machine 2, 2026-11-01 12:00, commit c0ffee, 4 results" in said
    assert "Versions 1: numpy 2.4.6, torch 2.11.0" in said
    # 4 samples in 0.15 seconds, beside 4 in 0.25
    assert "2 8 26.67 1.67 2 83.3 %" in said


def test_a_history_has_its_steps(tmp_path):
    paths = [
        write_bench_record(
            tmp_path / f"{day}.json",
            benchmark(seconds=((0.5 if day < 5 else 0.6) + day / 1e4,)),
            benchmark("flax", seconds=(0.5 + day % 2 / 1e3,)),
            day=day,
            commit=f"c{day}",
        )
        for day in range(1, 9)
    ]
    html = made(tmp_path, paths=paths)
    assert "From 2026-11-05, commit c5: 1.201 times the seconds, slower." in text(html)
    assert html.count("<circle") == 16
    assert "1 without a step" in text(html)


def test_names_are_text_and_nothing_is_fetched(tmp_path):
    paths = records(tmp_path)
    paths.append(write_bench_record(tmp_path / "evil.json", benchmark(EVIL), kind=EVIL))
    html = made(tmp_path, paths=paths)
    assert html.count("</script>") == 2
    assert "<script>alert" not in html
    assert not re.findall(r'(?:src|href)="', html)
    assert "url(" not in html


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--normalize", "x"], "--normalize x: no record is of such a machine; they"),
        (["--price", "x=1"], "--price x: no record is of such a machine"),
        (["--price", ONE], "give MACHINE=DOLLARS"),
        (["--price", f"{ONE}=0"], "give MACHINE=DOLLARS"),
        (["--across", "specs,moons"], "--across moons: give some of specs"),
        (["-o", "."], "-o .: it is a folder"),
        (["-o", "no/x.html"], "-o no/x.html: there is no folder no"),
        (["-o"], "-o/--output: expected one argument"),
    ],
)
def test_bad_flags_are_one_sentence(flags, said, tmp_path, capsys):
    refused(tmp_path, capsys, said, *map(str, records(tmp_path)), *flags)
    assert not (tmp_path / "page.html").exists()


def test_a_record_that_is_given_twice_is_refused(tmp_path, capsys):
    """It would count as two processes that agree to the last digit."""
    first = write_bench_record(tmp_path / "one.json", benchmark())
    again = tmp_path / "again.json"
    again.write_bytes(first.read_bytes())
    for other in (first, again):
        told = f"{other}: it is the same record as {first}; give each of them once."
        refused(tmp_path, capsys, told, str(first), str(other))
    assert not (tmp_path / "page.html").exists()


def test_bad_records_are_one_sentence(tmp_path, capsys):
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    refused(tmp_path, capsys, f"{bad}: this is no record of benchmarks", str(bad))
    assert not (tmp_path / "page.html").exists()
    (good, _) = records(tmp_path)
    refused(tmp_path, capsys, "would replace a record", str(good), "-o", str(good))


def refused(folder: Path, capsys, said: str, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["-o", str(folder / "page.html"), *arguments])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


# ---- in a browser -------------------------------------------------------------------


@pytest.fixture
def browse(tmp_path):
    """Opens a page in Chromium, and gives what it then holds."""
    return partial(opened, tmp_path)


def bars(dom: str) -> list[list[tuple[str, int, Any]]]:
    """Of each panel: trainer, machine's number, value."""
    assert "data-error" not in re.findall("<html[^>]*>", dom)[0]
    panels = re.findall(r'<article class="card">(.*?)</article>', dom, flags=re.DOTALL)
    numbers = {ONE: 1}
    return [
        [
            (trainer, numbers.get(machine, 2), pytest.approx(float(value)))
            for machine, trainer, value in _BAR.findall(panel)
        ]
        for panel in panels
    ]


_BAR = re.compile(r'data-machine="([^"]*)" data-trainer="([^"]*)" data-value="([^"]*)"')


def test_like_stands_beside_like(tmp_path, browse):
    step, evaluation, bf16 = bars(browse(made(tmp_path), "", "--dump-dom"))
    assert step == [
        ("flax", 2, 40.0),
        ("pytorch", 2, 4 / 0.15),
        ("flax", 1, 16.0),
        ("pytorch", 2, 16.0),
        ("pytorch", 1, 8.0),
    ]
    assert evaluation == [("flax", 1, 40.0)]
    assert bf16 == [("flax", 2, 80.0)]


@pytest.mark.parametrize(
    ("second", "fragment", "counts"),
    [
        ({}, "#precisions=on", [6, 1]),
        ({}, "#specs=on", [5, 1, 1]),  # precisions still differ
        ({"versions": {"torch": "9"}}, "", [2, 1, 3, 1]),
        ({"versions": {"torch": "9"}}, "#versions=on", [5, 1, 1]),
        ({"versions": {"torch": "9"}}, "#versions=on&precisions=on", [6, 1]),
    ],
)
def test_unlike_stands_side_by_side_where_it_is_asked_for(
    second, fragment, counts, tmp_path, browse
):
    html = made(tmp_path, paths=records(tmp_path, **second))
    assert [len(b) for b in bars(browse(html, fragment, "--dump-dom"))] == counts
    if fragment == "#versions=on":
        html = made(tmp_path, "--across", "versions", paths=records(tmp_path, **second))
        assert [len(b) for b in bars(browse(html, "", "--dump-dom"))] == counts


def test_across_precisions_other_specs_still_stand_apart(tmp_path, browse):
    other = benchmark("tensorflow", spec_hash="cccc")
    paths = [*records(tmp_path), write_bench_record(tmp_path / "3.json", other)]
    dom = browse(made(tmp_path, paths=paths), "#precisions=on", "--dump-dom")
    assert sorted(len(b) for b in bars(dom)) == [1, 1, 1, 5]
    dom = browse(made(tmp_path, paths=paths), "#precisions=on&specs=on", "--dump-dom")
    assert sorted(len(b) for b in bars(dom)) == [1, 7]


def test_figures_are_relative_to_a_chosen_machine(tmp_path, browse):
    dom = browse(made(tmp_path, "--normalize", ONE), "#what=step", "--dump-dom")
    (step,) = bars(dom)
    assert step == [
        ("flax", 2, 2.5),
        ("pytorch", 2, 2.0),
        ("pytorch", 1, 1.0),
        ("flax", 1, 1.0),
    ]
    # Both have the interval 0.5 (0.4503 to 0.5497), or half of it: as logs, half widths
    # add up as the sides of a right triangle
    (found,) = re.findall(
        r'data-trainer="pytorch" data-value="2" data-interval="([^"]+)"', dom
    )
    half = math.log(0.5497 / 0.4503) / 2
    low, high = map(float, found.split())
    assert low * high == pytest.approx(4)
    assert high / 2 == pytest.approx(math.exp(math.sqrt(2) * half), rel=1e-3)
    assert "1 more without this figure here or on that machine" in dom


def test_a_price_gives_tokens_per_dollar(tmp_path, browse):
    html = made(tmp_path, "--price", f"{ONE}=2", "--price", f"{TWO}=36")
    fragment = "#figure=tokens_per_dollar&trainer=pytorch"
    (step,) = bars(browse(html, fragment, "--dump-dom"))
    assert step == [
        ("pytorch", 1, 800 * 3600 / 2),
        ("pytorch", 2, 400 / 0.15 * 3600 / 36),
        ("pytorch", 2, 1600 * 3600 / 36),
    ]
    dom = browse(made(tmp_path), fragment, "--dump-dom")
    assert bars(dom) == []
    assert "0 of 7 shown: give a price above" in dom


def test_a_reader_changes_figure_price_and_filter(tmp_path, browse):
    """A page of its own, without the policy, which lets no other script in."""
    drive = """<script>
    form.elements.figure.value = "tokens_per_dollar";
    form.elements.what.value = "evaluation";
    form.dispatchEvent(new Event("input"));
    prices[0].value = "3600";
    prices[0].dispatchEvent(new Event("input"));
    </script></html>"""
    html = without_policy(made(tmp_path)).replace("</html>", drive)
    assert bars(browse(html, "", "--dump-dom")) == [[("flax", 1, 4000.0)]]


@pytest.mark.parametrize("figure", ["mfu", "seconds", "peak_host_bytes"])
def test_every_figure_is_drawn_the_best_first(figure, tmp_path, browse):
    for panel in bars(browse(made(tmp_path), f"#figure={figure}", "--dump-dom")):
        values = [value.expected for *_, value in panel]
        assert values == sorted(values, reverse=figure == "mfu")


def test_a_script_error_would_be_seen(tmp_path, browse):
    html = made(tmp_path).replace("</html>", "<script>nothing()</script></html>")
    assert 'data-error="' in browse(without_policy(html), "", "--dump-dom")
    assert 'data-error="' not in browse(html, "", "--dump-dom"), "the policy let it in"


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_drawn_in_light_and_in_dark(dark, tmp_path, browse):
    picture = tmp_path / "page.png"
    flags = [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    browse(made(tmp_path), "", f"--screenshot={picture}", *flags)
    corner, kinds = looked_at(picture)
    assert kinds > 100, "almost all rows are alike: it is blank"
    assert (corner < 128) == dark
