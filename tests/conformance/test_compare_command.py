"""`conformance compare`, with trainers that are only pretended."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.__main__ import main
from conformance.compare import command as compare_runs
from reference_trainers.registry import Listed
from reference_trainers.results import RunReport, StepRecord
from reference_trainers.spec import TrainingSpec

FLAGS = ["--do_train", "--do_predict", "--predict_with_generate"]
SPEC = TrainingSpec(do_train=True, do_predict=True, predict_with_generate=True)
STEPS = [StepRecord(step, 1.0, [step], 1e-3, 4.0, 1.0, 9, 0.5) for step in range(3)]


def report(trainer: str) -> RunReport:
    return RunReport(trainer, SPEC.as_dict(), SPEC.hash, steps=STEPS)


LISTED = [
    Listed("a", runs_here=True),
    Listed("b", runs_here=True),
    Listed("c", runs_here=False, reason="jax is not installed"),
]


class Pretended:
    """Stands in for the trainers' processes; by name: an exit status and last words."""

    def __init__(self):
        self.commands: list[list[str]] = []
        self.fails: dict[str, tuple[int, str]] = {}
        self.losses: dict[str, float] = {}
        self.idle: set[str] = set()
        """They end well, and write nothing."""

    def __call__(self, command, log: Path) -> int:
        self.commands.append(list(command))
        name = command[command.index("--trainer") + 1]
        if name in self.fails:
            status, words = self.fails[name]
            log.write_text(words)
            return status
        folder = Path(command[-1].removeprefix("--output_dir="))
        log.write_text("a warning\n")
        if name in self.idle:
            return 0
        folder.mkdir(exist_ok=True)
        made = report(name)
        loss = self.losses.get(name, STEPS[0].loss)
        made.steps = [replace(step, loss=loss) for step in STEPS]
        (folder / "run_report.json").write_text(made.as_json())
        line = {"row": 0, "prediction": "p", "reference": "r"}
        (folder / "predictions.jsonl").write_text(json.dumps(line) + "\n")
        (folder / "config.json").write_text('{"dropout_rate": 0.1}')
        return 0


@pytest.fixture
def pretended(monkeypatch) -> Pretended:
    runner = Pretended()
    monkeypatch.setattr(compare_runs, "run_process", runner)
    monkeypatch.setattr(compare_runs, "listed", lambda: LISTED)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    return runner


def command(trainers: str, *flags: str) -> int:
    return main(["compare", "--trainers", trainers, *FLAGS, *flags])


def test_all_runs_what_can_run_and_names_the_rest(pretended, tmp_path, capsys):
    out = tmp_path / "out"
    assert command("all", "--output_dir", str(out)) == 0
    said = capsys.readouterr()
    assert f"page: {out}/compare.html" in said.out
    assert "c: not run: jax is not installed" in said.out
    assert "dropout is on" in said.out
    assert said.err.splitlines()[0] == "a: started (1 of 2)"
    content = json.loads((out / "compare.json").read_text())
    statuses = {entry["trainer"]: entry["status"] for entry in content["trainers"]}
    assert statuses == {"a": "finished", "b": "finished", "c": "not run"}
    assert content["predictions"]["equal"] is True
    left = {path.name for path in out.iterdir()}
    assert left == {"a", "b", "compare.html", "compare.json"}
    assert pretended.commands[0][3:6] == ["--trainer", "a", "--do_train"]


def test_a_note_is_shown_as_it_is_and_home_is_found(pretended, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command("a,b", "--output_dir=~/out", "--note", "5 < 6 & so on") == 0
    shown = (tmp_path / "out" / "compare.html").read_text()
    assert "<p>5 &lt; 6 &amp; so on</p>" in shown
    assert pretended.commands[0][-1] == f"--output_dir={tmp_path}/out/a"
    assert "--note" not in pretended.commands[0]


def test_a_failing_trainer_is_shown_and_the_others_run(pretended, tmp_path, capsys):
    pretended.fails["a"] = 1, "Traceback\nValueError: a hf_secret at step 3\n\n"
    out = tmp_path / "out"
    flags = ["--output_dir", str(out), "--token", "hf_secret"]
    assert command("a,b,my.module:TRAINER", *flags) == 1
    said = capsys.readouterr().out
    assert "a: failed: ValueError: a *** at step 3" in said
    assert (out / "a.log").exists()
    assert not (out / "b.log").exists()
    assert (out / "my.module_TRAINER" / "run_report.json").exists()
    written = "".join(p.read_text() for p in out.rglob("*") if p.is_file())
    assert "hf_secret" not in written


def test_trainers_that_differ_are_no_success(pretended, tmp_path, capsys):
    pretended.losses["b"] = 4.1
    out = ["--output_dir", str(tmp_path / "out"), "--overwrite_output_dir"]
    assert command("a,b", *out) == 1
    assert "step 0, loss, a 4, b 4.1" in capsys.readouterr().out
    assert command("a,b", "--look", *out) == 0
    assert "step 0, loss, a 4, b 4.1" in capsys.readouterr().out


def test_the_report_of_an_earlier_run_is_kept_and_not_taken_for_a_new_one(
    pretended, tmp_path, capsys
):
    """By its own report a run knows which files are its own to replace."""
    out = ["--output_dir", str(tmp_path / "out"), "--overwrite_output_dir"]
    assert command("a,b", *out) == 0
    pretended.idle = {"b"}
    assert command("a,b", *out) == 1
    said = capsys.readouterr().out
    assert "b: failed: it ended well, but left the run_report.json of an" in said
    assert (tmp_path / "out" / "b" / "run_report.json").is_file()


def test_a_traceback_is_shown_where_it_is_asked_for(pretended, tmp_path, capsys):
    for flags, shown in (([], False), (["--traceback"], True)):
        with pytest.raises(SystemExit, match="2"):
            command("a,x", "--output_dir", str(tmp_path), *flags)
        said = capsys.readouterr().err
        assert ("Traceback" in said) is shown
        assert "--trainers x: no such trainer" in said


def test_a_traceback_of_a_flag_of_ours_is_shown_too(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "--traceback"])
    said = capsys.readouterr().err
    assert "Traceback" in said and "--trainers" in said


def test_one_that_finishes_is_no_success(pretended, tmp_path, capsys):
    pretended.fails["a"] = -9, ""
    assert command("a,b", "--output_dir", str(tmp_path / "out")) == 1
    said = capsys.readouterr().out
    assert "a: failed: ended by SIGKILL" in said
    assert "nothing was compared: only b finished" in said


def test_input_that_every_trainer_refuses_leaves_nothing(pretended, tmp_path, capsys):
    pretended.fails = dict.fromkeys("ab", (2, "train.csv: No such file.\n"))
    with pytest.raises(SystemExit, match="2"):
        command("a,b", "--output_dir", str(tmp_path / "out"))
    assert capsys.readouterr().err.splitlines()[-1] == "train.csv: No such file."
    assert not (tmp_path / "out").exists()


def test_overwriting_replaces_what_was_there(pretended, tmp_path):
    (tmp_path / "compare.html").write_text("old")
    (tmp_path / "a.log").write_text("old")
    pretended.fails = {"a": (2, "no"), "b": (1, "no")}
    flags = ["--output_dir", str(tmp_path), "--overwrite_output_dir"]
    assert command("a,b", *flags) == 1
    assert "old" not in (tmp_path / "compare.html").read_text()
    assert "--overwrite_output_dir" in pretended.commands[0]


@pytest.mark.parametrize(
    ("trainers", "sentence"),
    [
        ("a,x", "--trainers x: no such trainer; there are: a, b, c."),
        ("a,c", "--trainers c: it cannot run here: jax is not installed"),
        ("a", "--trainers a: name two or more"),
        ("a,a", "--trainers a,a: a comes twice."),
        ("a,", "--trainers a,: name two or more"),
        ("", "--trainers : name two or more"),
    ],
)
def test_wrong_trainers(pretended, tmp_path, capsys, trainers, sentence):
    with pytest.raises(SystemExit, match="2"):
        command(trainers, "--output_dir", str(tmp_path))
    assert sentence in capsys.readouterr().err
    assert not pretended.commands


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--output_dir", "FULL"], "is not empty. Name another --output_dir, or pass"),
        ([], "--output_dir: name the folder"),
        (["--output_dir", "FULL/file"], "--output_dir"),
        (["--learning_rat", "1"], "--learning_rat: no such flag"),
        (["--output_dir", "new", "--do_train=no", "--do_predict=no"], "Nothing to do"),
    ],
)
def test_wrong_flags(pretended, tmp_path, capsys, monkeypatch, flags, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "file").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        command("a,b", *flags)
    assert sentence in capsys.readouterr().err
    assert not pretended.commands
    assert not (tmp_path / "new").exists()


def test_unreadable_results_are_a_failure(tmp_path):
    assert compare_runs.collect("a", tmp_path, 1.0).status == "failed"
    (tmp_path / "run_report.json").write_text("{}")
    assert "cannot be read" in str(compare_runs.collect("a", tmp_path, 1.0).reason)
    stopped = replace(report("a"), status="stopped")
    (tmp_path / "run_report.json").write_text(stopped.as_json())
    assert "'stopped'" in str(compare_runs.collect("a", tmp_path, 1.0).reason)


def test_a_process_writes_its_messages_into_the_log(tmp_path):
    code = "import sys; print('out'); sys.exit('the last word')"
    log = tmp_path / "log"
    assert compare_runs.run_process([sys.executable, "-c", code], log) == 1
    assert log.read_text() == "the last word\n"


def test_jobs_run_at_a_time(pretended, tmp_path, monkeypatch):
    both = threading.Barrier(2)

    def meets_the_other(command, log: Path) -> int:
        both.wait(10)
        return pretended(command, log)

    monkeypatch.setattr(compare_runs, "run_process", meets_the_other)
    flags = ["--jobs", "2", "--output_dir", str(tmp_path / "out")]
    assert command("a,b", *flags) == 0


def test_a_signal_ends_every_process(tmp_path):
    sleeps = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]

    def stop(number, frame):
        raise SystemExit(128 + number)

    def one(name: str):
        status = compare_runs.run_process(sleeps, tmp_path / name)
        ended.append(status)

    ended: list[int] = []
    before = signal.signal(signal.SIGTERM, stop)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        with pytest.raises(SystemExit, match="143"):
            compare_runs.run_all(["a", "b"], 2, one)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended == [-signal.SIGTERM] * 2
