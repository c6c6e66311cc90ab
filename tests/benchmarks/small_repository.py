"""A git repository with a tiny package and a suite of benchmarks that needs no
framework: a clock of its own says how long a step takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

SUITE = """\
import os

import pytest

import reference_trainers


class Clock:
    now = 0.0

    def __call__(self):
        return Clock.now


def wait(seconds):
    # A thousandth of noise, of the process: what comes twice is not quite the same
    Clock.now += seconds * (1 + NOISE)


NOISE = int.from_bytes(os.urandom(2), "big") / 2**16 / 1000


@pytest.mark.benchmark(timer=Clock())
@pytest.mark.parametrize("name", list(reference_trainers.STEPS))
def test_step(benchmark, name):
    seconds = reference_trainers.STEPS[name]
    if seconds is None:
        raise ValueError("it is broken")
    benchmark.pedantic(wait, args=(seconds,), rounds=3)
"""


def git(root: Path, *arguments: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(
        ["git", "-C", str(root), *names, *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def repository(root: Path, **steps: float | None) -> Path:
    """With one commit, in which a step takes so many seconds; None: it breaks."""
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / "benchmarks/suite").mkdir(parents=True)
    (root / "benchmarks/suite/test_fake.py").write_text(SUITE)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    commit(root, **steps)
    return root


def change(root: Path, **steps: float | None) -> None:
    package = root / "reference_trainers"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(f"STEPS = {steps!r}\n")


def commit(root: Path, **steps: float | None) -> str:
    change(root, **steps)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a version")
    return git(root, "rev-parse", "HEAD")


def name_of(step: str) -> str:
    return f"benchmarks/suite/test_fake.py::test_step[{step}]"
