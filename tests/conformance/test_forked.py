"""A forked process is as one that was started: environment, words, status, death."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from conformance.forking import forked
from conformance.forking.forked import close_templates, fork
from conformance.launch import process_of
from conformance.profiles import PROFILES
from conformance.subject import Subject
from conformance.workers import command_of, environment_of

QUICK = Subject("fixtures.numpy_backend:TRAINER", None)
HALF = PROFILES["cpu-bf16"]


@pytest.fixture(autouse=True, scope="module")
def templates():
    """None is left of other tests, nor of these."""
    if not forked._names():
        pytest.skip("not run: no trainer runs here that could be forked")
    close_templates()
    yield
    close_templates()


def test_it_says_and_ends_as_a_started_one_does(tmp_path):
    words = ("--", "--trainer", QUICK.text, "--num_beams", "x")
    environment, log = environment_of(HALF), tmp_path / "log"
    with open(log, "wb") as file:
        process = fork(QUICK, HALF, words, environment, file)
    assert process is not None
    assert process.wait(60) == process.poll() == 2
    command = command_of(HALF, *words)
    started = subprocess.run(command, env=environment, capture_output=True)
    assert (started.returncode, started.stderr) == (2, log.read_bytes())


def test_it_has_the_environment_and_the_folder_of_who_asks(tmp_path, monkeypatch):
    """Words of a run reach one template's forks; others have another template."""
    monkeypatch.chdir(tmp_path)
    found = []
    for words in ({"RANK": "0"}, {"RANK": "1"}, {"OF_AN_IMPORT": "2"}):
        environment = environment_of(HALF) | words
        replies, theirs = os.pipe()
        with open(tmp_path / "log", "wb") as file:
            process = fork(QUICK, HALF, (), environment, file, replies=theirs)
        os.close(theirs)
        assert process is not None and process.poll() is None
        own = f"/proc/{process.pid}"
        assert os.readlink(f"{own}/cwd") == str(tmp_path)
        assert os.getsid(process.pid) == process.pid
        found.append([*forked._TEMPLATES][-1])
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        os.close(replies)
    assert found[0] == found[1] != found[2]


def test_a_template_that_died_is_replaced(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        environment = environment_of(HALF)
        template = forked._template(forked._names()[0], environment)
        template.process.kill()
        template.process.wait()
        process = fork(QUICK, HALF, ("--", "--help"), environment, file)
    assert process is not None
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("who", "place"),
    [
        (Subject("a_stranger.of:TRAINER", None), HALF),
        (QUICK, PROFILES["cpu-p2"]),
        (QUICK, replace(HALF, environment={"OF": "ITS OWN"})),
    ],
    ids=["stranger", "launcher", "environment"],
)
def test_what_has_a_start_of_its_own_is_not_forked(who, place, tmp_path):
    before = [*forked._TEMPLATES]
    with open(tmp_path / "log", "wb") as file:
        assert fork(who, place, (), environment_of(place), file) is None
    assert [*forked._TEMPLATES] == before


def test_a_victim_is_killed_as_a_started_one_is(tmp_path):
    with open(tmp_path / "log", "wb") as file:
        process = process_of(QUICK, HALF, ["--help"], file, die_at=0)
    assert process.wait(60) == 0
    process.kill()  # too late, which is no error
    assert process.wait() == 0
