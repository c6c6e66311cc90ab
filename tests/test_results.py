"""Result files: written whole, predictions on one line, rows of large runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest

from reference_trainers.files import write_whole
from reference_trainers.results import (
    PREDICTIONS_FILE,
    ROWS_LISTED,
    RunReport,
    SplitReport,
    StepRecord,
    json_text,
    row_ids_of,
)
from reference_trainers.spec import TrainingSpec


def test_a_file_is_written_and_replaced(tmp_path):
    file = tmp_path / PREDICTIONS_FILE
    for text in ("first, longer\n", "zweite, ü\n"):
        write_whole(file, text)
        assert file.read_text("utf-8") == text
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "all_results.json"
    write_whole(file, "old\n")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new\n")
    assert file.read_text("utf-8") == "old\n"


def test_a_generated_newline_stays_in_its_row(tmp_path):
    """generated_predictions.txt has one line a row, predictions.jsonl the text."""
    from reference_trainers.report.evaluation import Answer, write_predictions

    texts = ["one\ntwo", "plain", "", "three\u2028four\r"]
    answers = [Answer(row, text, "reference\n") for row, text in enumerate(texts)]
    write_predictions(answers, tmp_path)
    plain = (tmp_path / PREDICTIONS_FILE).read_text("utf-8")
    assert plain.splitlines() == ["one\\ntwo", "plain", "", "three\\u2028four\\r"]
    rich = (tmp_path / "predictions.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["prediction"] for line in rich] == texts


def test_rows_of_a_step_are_listed_or_digested():
    rows = np.array([5, 3, 2**40])
    assert row_ids_of(rows, ROWS_LISTED) == [5, 3, 2**40]
    digest = row_ids_of(rows, ROWS_LISTED + 1)
    bytes_ = b"".join(int(row).to_bytes(8, "little") for row in rows)
    assert digest == hashlib.sha256(bytes_).hexdigest()
    assert digest != row_ids_of(rows[::-1], ROWS_LISTED + 1)


def test_numbers_read_back_to_the_last_bit():
    values = [0.1, 1e-300, math.pi, 1 / 3, 2**53 + 1]
    assert json.loads(json_text(values)) == values
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"loss": math.nan})


def test_report_reads_back(tmp_path):
    step = StepRecord(0, 0.5, [3, 1], 1e-3, 4.25, 1.5, 17, 0.01)
    digested = StepRecord(1, 1.0, "ab" * 32, 1 / 3, 4.0, 1.25, 18, 0.01)
    report = RunReport(
        trainer="some",
        spec={"source_prefix": "été: ", "max_steps": 2},
        spec_hash="0" * 64,
        splits={"train": SplitReport(12, 4, "rows.csv", "f" * 64)},
        total_steps=2,
        steps=[step, digested],
        metrics={"train_loss": 4.125},
        files=["run_report.json"],
    )
    (tmp_path / "run_report.json").write_text(report.as_json(), encoding="utf-8")
    assert RunReport.read(tmp_path) == report


@pytest.mark.parametrize(
    "changed", [{"max_stepz": 2}, {"max_steps": "bert"}, {"max_steps": -7}]
)
def test_a_report_of_no_spec_is_no_report(tmp_path, changed):
    spec = TrainingSpec(model_name_or_path="m", output_dir="o", max_steps=2).as_dict()
    file = tmp_path / "run_report.json"
    report = RunReport("some", spec, "0" * 64)
    file.write_text(report.as_json(), encoding="utf-8")
    assert RunReport.find(tmp_path) == report
    file.write_text(replace(report, spec=spec | changed).as_json(), encoding="utf-8")
    assert RunReport.find(tmp_path) is None


def test_half_a_character_is_written_and_reads_back(tmp_path):
    """A name of bytes that are not UTF-8, in a warning say."""
    write_whole(tmp_path / "file", json_text({"name": "a\udcff\ud800é"}))
    text = (tmp_path / "file").read_text("utf-8")
    assert json.loads(text) == {"name": "a\udcff\ud800é"} and "é" in text
