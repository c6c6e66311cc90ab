"""Names that the system refuses, or that no file can have, are told in a sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fixtures.numpy_backend import TRAINER
from reference_trainers import InputError, RunReport, TrainingSpec
from reference_trainers.data.lines import lines_of
from reference_trainers.hub.sharing import push_folder
from reference_trainers.results import REPORT_FILE, SplitReport

LONG = "a" * 300
FLAGS = ("train_file", "model_name_or_path", "output_dir", "resume_from_checkpoint")


@pytest.fixture
def rows(tmp_path: Path) -> str:
    (tmp_path / "rows.csv").write_text("text,summary\nOne two.,One.\n")
    return str(tmp_path / "rows.csv")


@pytest.mark.parametrize("flag", FLAGS)
def test_a_name_that_is_too_long(tmp_path, rows, flag) -> None:
    given = {"do_train": True, "train_file": rows, "output_dir": str(tmp_path / "out")}
    given |= {"model_name_or_path": str(tmp_path), flag: f"{tmp_path}/{LONG}.csv"}
    with pytest.raises(InputError, match=rf"^--{flag} .*: File name too long\.$"):
        TRAINER.run(TrainingSpec(**given))


def test_a_push_from_a_name_that_is_too_long() -> None:
    with pytest.raises(InputError, match=r"File name too long\.$"):
        push_folder(Path(LONG))


@pytest.mark.parametrize("flag", ["output_dir", "resume_from_checkpoint"])
def test_the_home_of_nobody(tmp_path, rows, monkeypatch, flag) -> None:
    """It is a folder named ~nosuchuser, as in a shell."""
    monkeypatch.chdir(tmp_path)
    given = {"do_train": True, "train_file": rows, "output_dir": "out"}
    given |= {"model_name_or_path": str(tmp_path), flag: "~nosuchuser/x"}
    with pytest.raises(InputError, match=r"^--(model|resume)"):
        TRAINER.run(TrainingSpec(**given))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a\0b", "holds a NUL character. Take it out."),
        ("\udcff", "holds what is no character of UTF-8"),
        ("\ud800", "holds what is no character of UTF-8"),
    ],
)
@pytest.mark.parametrize("flag", ["source_prefix", "output_dir"])
def test_a_text_that_no_file_can_hold(flag, value, reason) -> None:
    with pytest.raises(InputError, match=rf"^--{flag}.*: {reason}"):
        TrainingSpec(**{flag: value})


@pytest.mark.parametrize("value", [10**400, -(10**400), 2**31, -(2**31)])
@pytest.mark.parametrize("flag", ["max_steps", "learning_rate", "length_penalty"])
def test_a_number_that_no_machine_holds(flag, value) -> None:
    with pytest.raises(InputError, match=rf"^--{flag} -?\d+: give "):
        TrainingSpec(**{flag: value})


def test_bytes_that_are_not_utf8_before_a_pack_that_breaks_off(tmp_path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"\xff\n" * 9) + b"junk")
    with pytest.raises(InputError, match=r"rows.csv.gz:2: byte 0xff is not UTF-8"):
        list(lines_of(path))


SPLIT = SplitReport(1, 0, "source", "digest")
REPORT = RunReport(
    trainer="a",
    spec={"model_name_or_path": "m", "output_dir": "o", "push_to_hub": False},
    spec_hash="hash",
    splits={"train": SPLIT},
)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": {}},
        {"files": [3]},
        {"files": "x"},
        {"total_steps": "x"},
        {"model_step": 1.5},
        {"identity": []},
        {"splits": {"train": {**vars(SPLIT), "rows": "x"}}},
        {"evaluations": [[]]},
    ],
)
def test_a_report_of_other_types_is_none(tmp_path, changes) -> None:
    file = tmp_path / REPORT_FILE
    file.write_text(REPORT.as_json())
    assert RunReport.find(tmp_path) == REPORT
    content = json.loads(REPORT.as_json())
    file.write_text(json.dumps(content | changes))
    assert RunReport.find(tmp_path) is None
