"""The one door to a run: workers answer, survive bad input, and are replaced."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import workers
from conformance.launch import Crashed, launch, launch_command, process_of
from conformance.profiles import PROFILES
from conformance.subject import Subject
from conformance.workers import command_of
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.spec import TrainingSpec

# What it does is the spec's source_prefix
FICKLE = """\
import os
import sys
import time

from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.results import RunReport


class Fickle:
    name = "fickle"

    def run(self, spec):
        print("on stdout")
        print(f"asked: {spec.source_prefix}", file=sys.stderr)
        match spec.source_prefix:
            case "refuse":
                raise InputError("--source_prefix refuse: no.")
            case "stop":
                raise TrainingStopped("Stopped.", 143)
            case "crash":
                raise ZeroDivisionError("of its own")
            case "die":
                os._exit(3)
            case "hang":
                time.sleep(60)
        report = RunReport(self.name, spec.as_dict(), spec.hash)
        report.hardware = {"pid": os.getpid(), "set": os.environ.get("SET_BY_PROFILE")}
        return report


TRAINER = Fickle()
"""
PROFILE = replace(PROFILES["cpu-bf16"], environment={"SET_BY_PROFILE": "yes"})


@pytest.fixture
def fickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fickle.py").write_text(FICKLE)
    monkeypatch.syspath_prepend(tmp_path)
    yield Subject.of("fickle:TRAINER")
    workers.close_all()


def asked(what: str = "run") -> TrainingSpec:
    return TrainingSpec(do_train=True, source_prefix=what)


def test_a_worker_runs_one_spec_after_another(fickle, capfd):
    first = launch(fickle, PROFILE, asked("one"))
    assert capfd.readouterr().err == "asked: one\n"
    second = launch(fickle, PROFILE, asked("two"))
    assert first.hardware == second.hardware
    assert first.hardware["pid"] != os.getpid()
    assert first.hardware["set"] == "yes"
    assert second.spec_hash == asked("two").hash


def test_errors_come_back_as_they_are_and_the_worker_stays(fickle):
    pid = launch(fickle, PROFILE, asked()).hardware["pid"]
    with pytest.raises(InputError, match=r"^--source_prefix refuse: no\.$"):
        launch(fickle, PROFILE, asked("refuse"))
    with pytest.raises(TrainingStopped) as stopped:
        launch(fickle, PROFILE, asked("stop"))
    assert stopped.value.exit_status == 143
    assert launch(fickle, PROFILE, asked()).hardware["pid"] == pid


@pytest.mark.parametrize(
    ("what", "said"),
    [("crash", "of its own"), ("die", "asked: die"), ("hang", "no answer in 2 s")],
)
def test_a_worker_that_crashes_dies_or_hangs_is_replaced(
    fickle, monkeypatch, what, said
):
    monkeypatch.setattr(workers, "LIMIT", 60.0)
    pid = launch(fickle, PROFILE, asked()).hardware["pid"]
    monkeypatch.setattr(workers, "LIMIT", 2.0 if what == "hang" else 60.0)
    with pytest.raises(Crashed, match=said):
        launch(fickle, PROFILE, asked(what))
    monkeypatch.setattr(workers, "LIMIT", 60.0)
    assert launch(fickle, PROFILE, asked()).hardware["pid"] != pid


def test_a_worker_that_has_grown_too_large_is_replaced(fickle, monkeypatch):
    pid = launch(fickle, PROFILE, asked()).hardware["pid"]
    monkeypatch.setattr(workers, "LARGEST", 1.0)
    assert launch(fickle, PROFILE, asked()).hardware["pid"] != pid


def test_only_so_many_workers_live_at_a_time(fickle, monkeypatch):
    monkeypatch.setattr(workers, "KEPT", 1)
    other = PROFILES["cpu-x2"]
    pids = [launch(fickle, p, asked()).hardware["pid"] for p in (PROFILE, other) * 2]
    assert len(set(pids)) == 4


@pytest.mark.parametrize("profile", [PROFILES["cpu"], PROFILE], ids=lambda p: p.name)
def test_a_command_ends_with_its_status_and_words(fickle, profile):
    flags = ["--do_train", "--source_prefix"]
    assert launch_command(fickle, profile, [*flags, "a"]).status == 0
    ended = launch_command(fickle, profile, [*flags, "refuse"])
    assert ended.status == 2
    assert ended.said.splitlines()[-1] == "--source_prefix refuse: no."
    crashed = launch_command(fickle, profile, [*flags, "crash"])
    assert crashed.status == 1
    assert "ZeroDivisionError: of its own" in crashed.said


def test_a_process_of_its_own_has_the_profile_s_environment(fickle, tmp_path):
    log = tmp_path / "log"
    with open(log, "wb") as file:
        arguments = ["--do_train", "--source_prefix", "stop"]
        status = process_of(fickle, PROFILE, arguments, file).wait(60)
    assert status == 143
    assert "Stopped." in log.read_text()
    started = command_of(replace(PROFILE, launcher=("torchrun", "--nproc=2")), "-x")
    assert started[:3] == ["torchrun", "--nproc=2", "-m"]
    assert started[-3:] == ["--profile", "cpu-bf16", "-x"]
