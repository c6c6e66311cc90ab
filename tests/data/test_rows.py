"""What is taken from a user's own file: the rows asked for, their text as it is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fixtures.models import tiny_t5
from fixtures.write import write_bytes
from reference_trainers import InputError, TrainingSpec
from reference_trainers.data.rows import load_rows
from reference_trainers.data.tokens import Split

DATES = [{"text": f"Row {n}.", "summary": f"2024-01-0{n}"} for n in range(1, 4)]
NUMBERS = [{"text": f"Row {n}.", "summary": f"00{n}"} for n in range(1, 4)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny_t5(tmp_path_factory.mktemp("model"), num_layers=1, num_heads=1)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def read(tmp_path: Path, tokenizer: Any) -> Any:
    """``read(name, text)``: the training rows of a file of this name and content."""

    def rows_of(name: str, content: str | bytes, **flags: Any) -> Split:
        content = content.encode() if isinstance(content, str) else content
        flags["train_file"] = str(write_bytes(tmp_path / name, content))
        spec = TrainingSpec(do_train=True, cache_dir=str(tmp_path / "cache"), **flags)
        return load_rows(spec, tokenizer)["train"]

    return rows_of


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: list[dict[str, Any]]) -> str:
    cells = [[*rows[0]], *map(dict.values, rows)]
    return "".join(",".join(line) + "\n" for line in cells)


@pytest.mark.parametrize("rows", [DATES, NUMBERS], ids=["dates", "numbers"])
def test_a_json_string_is_text_whatever_it_looks_like(read: Any, rows: Any) -> None:
    expected = read("rows.csv", as_csv(rows)).report.digest
    for name, text in (
        ("rows.jsonl", lines(*rows)),
        ("rows.jsonl.gz", lines(*rows)),
        ("list.json", json.dumps(rows)),
        ("indented.json", "\n\n" + json.dumps(rows, indent=2)),
        ("object.json", json.dumps({"version": 1, "data": rows})),
    ):
        assert read(name, text).report.digest == expected, name


def test_a_chunk_of_dates_behind_other_text_stays_text(read: Any) -> None:
    """A library's reader decides on types for each ten megabytes."""
    chunk = [{"text": "A.", "summary": "A text.", "note": 1_050_000 * "x"}] * 10
    found = read("late.jsonl", lines(*chunk, *DATES)).rows["labels"]
    assert found[-3:] == read("rows.csv", as_csv(DATES)).rows["labels"][:]


def test_columns_that_come_late_or_mixed_do_not_matter(read: Any) -> None:
    found = read(
        "late.jsonl",
        lines(
            {"text": "One.", "note": [{"nested": 1}]},
            {"text": "Two.", "summary": "2024-01-02", "note": 3},
            {"summary": "Three.", "new": {"a": None}},
            {"text": None, "summary": "Four."},
        ),
        text_column="text",
        summary_column="summary",
    )
    assert found.rows["row"][:] == [1]
    assert found.report.dropped == 3


def test_json_lines_with_lists_in_them_are_lines(read: Any) -> None:
    rows = [{"text": "One.", "summary": "1", "names": [{"a": 1}]}] * 2
    assert read("lines.json", lines(*rows)).report.rows == 2


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"text": "One.", "summary": 2}', "column summary holds a number, not text."),
        ('{"text": "One.", "summary": ["a"]}', "column summary holds a list, not text"),
        ('{"text": true, "summary": "a"}', "column text holds true or false, not text"),
        ('{"text": "a\\u0000", "summary": "b"}', "column text holds a NUL character"),
        ('{"text": "a\\u0000", "summary": ""}', "column text holds a NUL character"),
        ('{"text": "a", "summary": "\\ud800"}', "column summary holds half a surroga"),
        ('{"text": "a", "text": "b", "summary": "c"}', "not JSON: text comes twice"),
        ('{"text": "a", ', "not JSON: "),
        ("[1]", "not an object"),
    ],
)
def test_a_json_row_that_cannot_be_used_is_refused_by_its_line(
    read: Any, tmp_path: Path, row: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read("rows.jsonl", "\n" + lines(*DATES) + row + "\n")
    assert str(refused.value).startswith(f"{tmp_path}/rows.jsonl:5: {said}")


def test_a_row_of_a_list_is_refused_by_its_number(read: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read("rows.json", json.dumps([*DATES, {"text": "a", "summary": 1}]))
    said = f"{tmp_path}/rows.json: row 4: column summary holds a number, not text."
    assert str(refused.value).startswith(said)


NUL = "text,summary\nOne.,1\n\n{},2\n"


@pytest.mark.parametrize(
    ("cell", "workers"), [("a\0b", None), ('"a\n\0"', None), ('"a\0b"', 2)]
)
def test_a_nul_in_a_csv_is_refused_by_its_line(
    read: Any, tmp_path: Path, cell: str, workers: int | None
) -> None:
    with pytest.raises(InputError) as refused:
        read("rows.csv", NUL.format(cell), preprocessing_num_workers=workers)
    said = f"{tmp_path}/rows.csv:4: column text holds a NUL character"
    assert str(refused.value).startswith(said)
    assert read("behind.csv", NUL.format(cell), max_train_samples=1).report.rows == 1


SHORT = "text,summary\nOne.,1\n{}\nThree.\n"


@pytest.mark.parametrize("second", ["Two.,2", "Two.,", ",2"])
def test_a_row_behind_the_samples_is_not_judged(read: Any, second: str) -> None:
    """Whatever becomes of the rows before it: the first 2 rows are all that is read."""
    text = SHORT.format(second)
    assert read("rows.csv", text, max_train_samples=2).report.rows >= 1
    for name, behind in (("long.csv", "a,b,c\n"), ("quote.csv", '"a,b\n')):
        read(name, text.replace("Three.\n", behind), max_train_samples=2)
    broken = lines(*DATES[:2]) + '{"text": \n'
    assert read("rows.jsonl", broken, max_train_samples=2).report.rows == 2


@pytest.mark.parametrize("second", ["Two.,2", "Two.,", ",2", "\n   "])
def test_a_short_row_is_refused_whatever_becomes_of_the_others(
    read: Any, second: str
) -> None:
    with pytest.raises(InputError, match=r"rows.csv:\d: 1 field, but the header names"):
        read("rows.csv", SHORT.format(second), max_train_samples=3)
    three = "text,summary,topic\nOne.,1,a\nTwo.,2\n"
    with pytest.raises(InputError, match=r"three.csv:3: 2 fields, but the header name"):
        read("three.csv", three)


def test_an_empty_last_field_is_no_short_row(read: Any) -> None:
    text = "text,summary,topic\nOne.,1,\n   \n\nTwo.,2,\n"
    assert read("rows.csv", text).report.rows == 2


@pytest.mark.parametrize("text", ["{}", "[]", '{"data": []}', "[{}]", "{}\n{}\n"])
def test_a_json_file_without_a_row_says_so(
    read: Any, tmp_path: Path, text: str
) -> None:
    with pytest.raises(InputError) as refused:
        read("rows.json", text)
    assert str(refused.value) == f"{tmp_path}/rows.json: the file holds no rows."


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", ":1: the first line is blank."),
        ("   ", ":1: the first line is blank."),
        ("text,summary,text", ":1: column text comes twice in the header."),
        (",text,summary", ":1: column 1 has no name."),
    ],
)
def test_a_csv_header_that_names_no_columns_is_refused(
    read: Any, tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(InputError) as refused:
        read("rows.csv", f"{header}\na,b,c\n", text_column="text")
    assert str(refused.value).startswith(f"{tmp_path}/rows.csv{said}")


def test_an_ending_in_capitals_is_read(read: Any, tmp_path: Path) -> None:
    expected = read("rows.csv", as_csv(DATES)).report.digest
    assert read("ROWS.CSV", as_csv(DATES)).report.digest == expected
    assert read("ROWS.JSONL", lines(*DATES)).report.digest == expected
    assert read("ROWS.JSON", json.dumps({"data": DATES})).report.digest == expected
    packed = gzip.compress(as_csv(DATES).encode())
    assert read("PACKED.CSV.GZ", packed).report.digest == expected
    packed = gzip.compress(lines(*DATES).encode())
    assert read("PACKED.JSON.GZ", packed).report.digest == expected


def test_the_home_folder_is_found(
    read: Any, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read("rows.jsonl", lines(*DATES)).report.digest
    monkeypatch.setenv("HOME", str(tmp_path))
    named: dict[str, Any] = {
        **dict.fromkeys(("train_file", "validation_file", "test_file"), "~/rows.jsonl"),
        **dict.fromkeys(("do_train", "do_eval", "do_predict"), True),
    }
    splits = load_rows(TrainingSpec(**named), tokenizer)
    assert {split.report.digest for split in splits.values()} == {expected}
    write_bytes(tmp_path / "dataset" / "train.jsonl", lines(*NUMBERS).encode())
    spec = TrainingSpec(do_train=True, dataset_name="~/dataset")
    assert load_rows(spec, tokenizer)["train"].report.rows == 3
