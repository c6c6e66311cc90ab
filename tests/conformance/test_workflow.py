"""The worked example of a CI: its jobs hang together, and its commands exist."""

from __future__ import annotations

import configparser
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
JOBS = yaml.safe_load((ROOT / ".github/workflows/conformance.yml").read_text())["jobs"]


def steps(key: str) -> Iterator[Any]:
    """What the steps of all jobs have under a key."""
    for job in JOBS.values():
        yield from (step[key] for step in job["steps"] if key in step)


LAWS = JOBS["laws"]["strategy"]["matrix"]["include"]


def words(run: str) -> list[str]:
    """Those of a command; a matrix value is that of one job."""
    values = {f"matrix.{key}": value for key, value in LAWS[-1].items()}
    for name, value in (*values.items(), ("github.run_number", "7")):
        run = run.replace(f"${{{{ {name} }}}}", value)
    assert "${{" not in run, run
    return shlex.split(run)


def test_every_job_waits_for_one_that_there_is() -> None:
    for job in JOBS.values():
        assert job.get("needs", "laws") in JOBS
        assert job["steps"][0]["uses"].startswith("actions/checkout@")


def test_every_framework_is_tested_and_reported() -> None:
    frameworks = [job["framework"] for job in LAWS if job["versions"] == "cpu"]
    extras = (ROOT / "reference_trainers").glob("*/requirements.txt")
    assert {*frameworks} == {path.parent.name for path in extras}
    (report,) = [run for run in steps("run") if "conformance report" in run]
    assert {f"{name}.json" for name in frameworks} <= {*words(report)}


def test_each_framework_has_the_versions_of_its_tox_environment() -> None:
    tox = configparser.ConfigParser()
    tox.read_string((ROOT / "tox.ini").read_text(encoding="utf-8"))
    for job in LAWS:
        name = f"testenv:{job['name']}"
        section = tox[name if name in tox else "testenv"]
        assert section["constraints"] == f"constraints/{job['versions']}.txt"
        assert job["name"].startswith(job["framework"])
        if "base_python" in section:
            first = section["base_python"].partition(",")[0]
            assert first == "py" + job["python"].replace(".", "")


@pytest.mark.parametrize("run", [run for run in steps("run") if "python -m" in run])
def test_every_option_exists(run: str) -> None:
    """As the program's own -h has it."""
    command = words(run)
    program = command[1:4] if command[2] == "conformance" else command[1:3]
    if program[1] == "pip":
        program.append("install")
    shown = subprocess.run(
        [sys.executable, *program, "--help"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    options = [word for word in command[3:] if word.startswith("-")]
    assert options, command
    for option in options:
        assert option in shown, option
