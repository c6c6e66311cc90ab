"""Which splits a run needs, and what is said of a file that is not there."""

from __future__ import annotations

import pytest

from reference_trainers.data.files import check_files, format_of, wanted_splits
from reference_trainers.errors import InputError
from reference_trainers.spec import TrainingSpec


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({}, []),
        ({"do_train": True}, ["train"]),
        ({"do_train": True, "eval_strategy": "epoch"}, ["train", "validation"]),
        ({"eval_strategy": "epoch"}, []),
        ({"do_eval": True, "do_predict": True}, ["validation", "test"]),
    ],
)
def test_what_a_run_reads(flags, names):
    assert [split.name for split in wanted_splits(TrainingSpec(**flags))] == names


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("a.jsonl", "json"), ("a.json.gz", "json"), ("b.csv.xz", "csv")],
)
def test_the_ending_says_the_format(tmp_path, name, kind):
    (tmp_path / name).touch()
    assert format_of(tmp_path / name, "--train_file") == kind


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name, reason in (
        ("folder.csv", "is a folder, not a file."),
        ("absent.csv", "no such file."),
        ("rows.parquet", "give a .csv, .json or .jsonl file"),
    ):
        with pytest.raises(InputError, match=f"^--train_file {name}: {reason}"):
            format_of(tmp_path / name, f"--train_file {name}")


def test_each_split_needs_a_source(tmp_path):
    check_files(TrainingSpec(do_train=True, dataset_name="some/dataset"))
    rows = tmp_path / "rows.csv"
    rows.touch()
    spec = TrainingSpec(do_train=True, train_file=str(rows), eval_strategy="epoch")
    with pytest.raises(InputError, match=r"^--eval_strategy: give --validation_file"):
        check_files(spec)


@pytest.mark.parametrize(
    ("cache", "reason"),
    [("file/below", "file is a file"), ("~nosuchuser/x", "there is no such user")],
)
def test_a_cache_that_cannot_be_is_refused(tmp_path, monkeypatch, cache, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"^--cache_dir {cache}: .*{reason}"):
        check_files(TrainingSpec(cache_dir=cache))
    check_files(TrainingSpec(cache_dir="new/folder"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
