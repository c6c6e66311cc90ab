"""The worked example of a CI with the gate: its commands and their options exist."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("scipy", reason="not run: scipy is not installed")

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/benchmarks.yml").read_text())
JOBS = WORKFLOW["jobs"]
RUNS = [
    shlex.split(step["run"])
    for job in JOBS.values()
    for step in job["steps"]
    if "run" in step
]


def commands(name: str) -> list[list[str]]:
    return [run for run in RUNS if run[:4] == ["python", "-m", "benchmarks", name]]


def test_both_jobs_install_what_benchmarks_need():
    assert set(JOBS) == {"gate", "report"}
    for job in JOBS.values():
        assert job["steps"][0]["uses"].startswith("actions/checkout@")
        (install,) = [s["run"] for s in job["steps"] if "pip install" in str(s)]
        assert ".[pytorch,test,bench]" in shlex.split(install)


def test_the_gate_has_the_commit_that_it_compares_with():
    checkout = JOBS["gate"]["steps"][0]
    assert checkout["with"]["fetch-depth"] == 2
    (command,) = commands("gate")
    assert command[command.index("--base") + 1] == "HEAD^1"


@pytest.mark.parametrize("name", ["gate", "run", "report"])
def test_every_option_exists(name):
    """As the program's own -h has it; what stands after -- is as in `run`."""
    (command,) = commands(name)
    ours, _, suites = " ".join(command[4:]).partition(" -- ")
    for program, words in ((name, ours), ("run", suites)):
        options = [word for word in words.split() if word.startswith("-")]
        if options:
            shown = subprocess.run(
                [sys.executable, "-m", "benchmarks", program, "-h"],
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
            assert shown.returncode == 0, shown.stderr
            assert [word for word in options if word not in shown.stdout] == []


def test_the_report_is_of_the_record_that_was_made():
    (run,), (report,) = commands("run"), commands("report")
    record = run[run.index("--json") + 1]
    assert record in report
    upload = JOBS["report"]["steps"][-1]["with"]["path"].split()
    assert upload == [record, report[report.index("-o") + 1]]
