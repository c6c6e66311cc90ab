"""Which columns are text and summary: found once, on the first split of a run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from fixtures.models import tiny_t5
from reference_trainers import InputError, TrainingSpec
from reference_trainers.data.columns import check_columns
from reference_trainers.data.rows import load_rows


def written(path: Path, *header: str) -> str:
    """Three rows whose cells name their column."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *([f"the {n}" for n in header],) * 3])
    return str(path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny_t5(tmp_path_factory.mktemp("model"), num_layers=1, num_heads=1)
    return AutoTokenizer.from_pretrained(folder)


def spec(train: str, validation: str, **flags: Any) -> TrainingSpec:
    files: dict[str, Any] = {"train_file": train, "validation_file": validation}
    return TrainingSpec(do_train=True, do_eval=True, **files, **flags)


def test_names_of_the_first_split_hold_for_all(tmp_path: Path, tokenizer: Any) -> None:
    train = written(tmp_path / "train.csv", "text", "summary")
    other_order = written(tmp_path / "validation.csv", "summary", "text")
    splits = load_rows(spec(train, other_order), tokenizer)
    first, second = (splits[name].rows[0] for name in ("train", "validation"))
    assert first["input_ids"] == second["input_ids"]
    assert first["labels"] == second["labels"]


def test_a_column_that_a_later_split_lacks_is_named(
    tmp_path: Path, tokenizer: Any
) -> None:
    train = written(tmp_path / "train.csv", "text", "summary")
    other = written(tmp_path / "validation.csv", "article", "summary")
    with pytest.raises(InputError, match=r"text: no such column in .*validation.csv"):
        load_rows(spec(train, other), tokenizer)


@pytest.mark.parametrize(
    ("header", "said"),
    [("text", "has one column"), ("text;summary", "separated by commas")],
)
def test_a_file_of_one_column_is_refused(
    tmp_path: Path, header: str, said: str
) -> None:
    file = written(tmp_path / "rows.csv", header)
    with pytest.raises(InputError, match=said):
        check_columns(spec(file, file))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_nul_in_the_name_of_a_column_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    row = '{"te\\u0000xt": "a", "summary": "b"}\n'
    file.write_text("te\0xt,summary\na,b\n" if name == "rows.csv" else row)
    with pytest.raises(InputError, match=rf"{name}: the name of a column holds a NUL"):
        check_columns(spec(str(file), str(file)))
