"""`python -m benchmarks`: what it refuses, and a record of a trainer of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks import __main__ as command
from benchmarks.table import table

ROOT = Path(__file__).parents[2]
OWN = "fixtures.numpy_backend:TRAINER"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["go"], "go: no such command; there are: run, gate, report."),
        (["run", "--trainer", "caffe"], "--trainer caffe: no such trainer; there are:"),
        (["run", "--profile", "abacus"], "--profile abacus: no such profile; there"),
        (
            ["run", "--profile", "cpu-p2"],
            "--profile cpu-p2: benchmarks are measured in",
        ),
        (["run", "--fast"], "unrecognized arguments: --fast. See -h."),
        (["run", "--batch", "0"], "--batch 0: give a number of rows, 1 or more."),
        (["run", "--json", "/"], "--json /: it is a folder; name a file."),
        (["run", "--json", "no/x"], "--json no/x: there is no folder no; make it."),
        (["run", "--json", "/proc/x"], "--json /proc/x: "),
        (["run", "--effort", "0"], "--effort 0: give a number above 0."),
        (["run", "--effort", "nan"], "--effort nan: give a number above 0."),
        (["run", "--effort", "much"], "--effort: invalid float value: 'much'. See"),
    ],
)
def test_bad_input_is_told_in_a_sentence(arguments, sentence, capsys):
    assert command.main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith(sentence) and told.err.count("\n") == 1
    assert told.out == ""


def test_help_lists_the_commands(capsys):
    assert command.main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in command.COMMANDS)


FIELDS = {
    *("trainer", "profile", "what", "shape", "lengths", "precision", "devices"),
    *("batch", "spec_hash", "samples", "tokens", "flops", "samples_per_second"),
    *("tokens_per_second", "flops_per_second", "mfu", "peak_host_bytes"),
    *("peak_device_bytes", "joules", "warm_up_seconds", "floors"),
}
MACHINE = {"kind", "cores", "threads", "memory_bytes", "versions", "peak_flops"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A quick run of a trainer that is none of ours."""
    pytest.importorskip(
        "pytest_benchmark", reason="not run: pytest-benchmark is not installed"
    )
    file = tmp_path_factory.mktemp("record") / "record.json"
    flags = ["--quick", "--trainer", OWN, "--json", str(file), "-k", "not start"]
    call = [sys.executable, "-m", "benchmarks", "run", *flags]
    ended = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
    return json.loads(file.read_text()), ended.stdout


def test_a_record_says_all_of_every_benchmark(ran):
    record, _ = ran
    assert record["machine_info"].keys() >= MACHINE
    found = {each["extra_info"]["what"]: each for each in record["benchmarks"]}
    assert found.keys() == {
        *("step", "evaluation", "training", "generation-greedy", "generation-beams"),
        *("tokenizing", "checkpoint-save", "checkpoint-load", "push"),
    }
    for each in record["benchmarks"]:
        told = each["extra_info"]
        assert told.keys() == FIELDS
        assert len(told["spec_hash"]) == 64 and told["devices"] == 1
        assert told["trainer"] in (OWN, "shared")
        assert len(each["stats"]["data"]) == each["stats"]["rounds"]
        for floor in told["floors"].values():
            assert len(floor["seconds"]) == each["stats"]["rounds"]
            assert floor["ratio"] > 0 and len(floor["interval"]) == 2
    assert found["step"]["fullname"] == (
        f"benchmarks/suite/test_training.py::test_step[{OWN}-tiny-ragged]"
    )
    assert len({each["fullname"] for each in record["benchmarks"]}) == len(found)


def test_a_warm_start_is_of_trainers_that_compile(tmp_path):
    """And the names of benchmarks tell a batch that is not the usual one."""
    pytest.importorskip(
        "pytest_benchmark", reason="not run: pytest-benchmark is not installed"
    )
    file = tmp_path / "record.json"
    flags = ["--quick", "--trainer", OWN, "--json", str(file), "--batch", "2"]
    call = [sys.executable, "-m", "benchmarks", "run", *flags, "-k", "start"]
    ended = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-2000:]
    assert "not run: it compiles nothing, so its warm start is its cold" in ended.stdout
    (cold,) = json.loads(file.read_text())["benchmarks"]
    assert cold["name"] == f"test_start[{OWN}-tiny-of-2-cold]"
    told = cold["extra_info"]
    assert (told["shape"], told["batch"], told["samples"]) == ("tiny-of-2", 2, 2)


def test_a_record_has_a_table(ran):
    record, said = ran
    shown = table(record)
    assert said.endswith(shown + "\n")
    for each in record["benchmarks"]:
        assert each["name"].removeprefix("test_") in shown
