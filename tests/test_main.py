"""`python -m reference_trainers run | list`, and what `-h` says at each level."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from reference_trainers import __main__
from reference_trainers.__main__ import main
from reference_trainers.registry import listed

OURS = ["accelerate", "flax", "pytorch", "tensorflow"]


def test_list_shows_them_all(capsys):
    assert main(["list"]) == 0
    trainers, _, _ = capsys.readouterr().out.partition("\n\n")
    lines = {line.split()[0]: line for line in trainers.splitlines()}
    assert sorted(lines) == OURS
    for found in listed():
        state = "runs here" if found.runs_here else f"cannot run: {found.reason}"
        assert state in lines[found.name]
    assert main(["list", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sorted(trainer["name"] for trainer in shown) == OURS
    assert {"name", "bounds", "here", "state"} == {*shown[0]["libraries"][0]}


def test_list_says_of_each_library_what_is_here(capsys):
    assert main(["list"]) == 0
    _, _, table = capsys.readouterr().out.partition("\n\n")
    shown = [" ".join(line.split()) for line in table.splitlines()[1:]]
    assert shown[0].startswith(f"python {platform.python_version()} supported >=")
    needed = dict.fromkeys(each for found in listed() for each in found.libraries)
    assert shown == [
        f"{each.name} {each.here or '-'} {each.state} {each.bounds or 'any'}"
        for each in needed
    ]


@pytest.mark.parametrize(
    "arguments", [["--do_train"], ["--trainer"], ["run"], ["run", "--do_train"]]
)
def test_a_trainer_must_be_named(capsys, arguments):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("--trainer: say which one")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fly"], "fly: no such command; there are: run, list, push."),
        (["list", "--jso"], "unrecognized arguments: --jso. See -h."),
        (["run", "--trainer", "nobody"], "--trainer nobody: no such trainer"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, arguments, sentence):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(sentence) and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], ["run", "list"]),
        (["-h"], ["run", "list"]),
        (["list", "-h"], ["--json"]),
        (["run", "-h"], ["--trainer NAME", "--max_grad_norm", "--traceback"]),
        (["run", "--trainer", "flax", "-h"], ["--trainer flax", "--max_grad_norm"]),
    ],
)
def test_help_at_each_level(capsys, monkeypatch, arguments, shown):
    # Its framework need not be installed for this
    monkeypatch.setattr(__main__, "find_trainer", lambda name: None)
    try:
        assert main(arguments) == 0
    except SystemExit as ended:
        assert ended.code == 0
    said = capsys.readouterr().out
    for text in shown:
        assert text in said


@pytest.mark.parametrize("word", [[], ["run"]])
@pytest.mark.parametrize("named", [["--trainer", "some"], ["--trainer=some"]])
def test_a_run_gets_the_other_arguments(monkeypatch, word, named):
    monkeypatch.setattr(__main__, "find_trainer", lambda name: name)
    monkeypatch.setattr(__main__.cli, "main", lambda trainer, rest, _: [trainer, *rest])
    given: object = main([*word, "--do_train", *named, "--seed=1"])
    assert given == ["some", "--do_train", "--seed=1"]


def test_a_reader_that_has_enough_of_the_list_is_no_error():
    """As `head` is; unbuffered, so that what is written meets the closed pipe."""
    command = [sys.executable, "-u", "-m", "reference_trainers", "list"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")
