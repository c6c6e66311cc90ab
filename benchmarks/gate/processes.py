"""One fresh process: the running checkout's benchmarks, on one version's package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gate import witness
from benchmarks.gate.checkouts import PACKAGE, Version
from benchmarks.measure import TIMES_ALONE
from benchmarks.run import environment
from reference_trainers import InputError

HERE = Path(__file__).resolve().parents[2]
SUITE = Path("benchmarks/suite")
USABLE = (0, 1, 5)  # pytest's exit statuses: all passed, some failed, none was there
LAST_LINES = 5
WITNESS = Path(witness.__file__)


@dataclass(frozen=True)
class Measured:
    """What one process says: seconds by benchmark, and why others have none."""

    seconds: Mapping[str, float]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Suite:
    """The benchmarks that both versions run: one yardstick."""

    root: Path
    """The checkout that holds them."""
    expression: str | None = None
    """pytest's -k."""
    flags: tuple[str, ...] = ()
    """Further ones of pytest's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of each process."""


def check_tools(root: Path) -> None:
    if find_spec("pytest_benchmark") is None:
        raise InputError(
            'pytest-benchmark is not installed: python -m pip install -e ".[bench]"'
        )
    if not (root / SUITE).is_dir():
        raise InputError(f"{root} has no folder {SUITE}: run the gate from a clone.")


def measure(suite: Suite, version: Version, names: Sequence[str]) -> Measured:
    """Runs the benchmarks `names` (none: all that match) in a fresh process."""
    with tempfile.TemporaryDirectory(dir=version.path.parent) as work:
        record = Path(work) / "record.json"
        targets = [str(suite.root / name) for name in names]
        if names:  # they have matched once
            suite = replace(suite, expression=None)
        targets = targets or [str(suite.root / SUITE)]
        targets += ["--benchmark-only", "--benchmark-json", str(record)]
        said = _pytest(suite, version, targets, Path(work))
        found: dict[str, Any] = {"benchmarks": []}
        if record.is_file() and record.stat().st_size:  # empty: none was run
            found = json.loads(record.read_text(encoding="utf-8"))
    seconds = {
        benchmark["fullname"]: median(benchmark["stats"]["data"])
        for benchmark in found["benchmarks"]
    }
    return Measured(seconds, said["failures"])


def tests_in(suite: Suite, version: Version) -> frozenset[str]:
    """The names of its tests, without running them; none where there is no suite."""
    if not (suite.root / SUITE).is_dir():
        return frozenset()
    with tempfile.TemporaryDirectory(dir=version.path.parent) as work:
        asked = [str(suite.root / SUITE), "--collect-only"]
        said = _pytest(suite, version, asked, Path(work))
    return frozenset(said["collected"])


def _pytest(
    suite: Suite, version: Version, arguments: Sequence[str], work: Path
) -> dict[str, Any]:
    """What the witness says.

    `append`: else pytest would put the folder of the tests, where another
    `reference_trainers` stands, first. So would a Python that is not told to be safe.
    """
    root, expression = suite.root, suite.expression
    told = work / "witness.json"
    shutil.copy(WITNESS, work / "gate_witness.py")
    given = {
        **environment(suite.environment),
        "PYTHONPATH": os.pathsep.join(map(str, [work, version.path, root])),
        "PYTHONSAFEPATH": "1",
        TIMES_ALONE: "1",
        witness.FILE: str(told),
    }
    command = [sys.executable, "-m", "pytest", *arguments, *suite.flags, "-q"]
    command += [] if expression is None else ["-k", expression]
    command += ["-p", "gate_witness", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-o", "addopts=", "-o", "timeout=0"]  # those are for tests
    command += ["--import-mode=append", "--continue-on-collection-errors"]
    command += [f"--rootdir={root}", f"--confcutdir={root / SUITE.parent}"]
    command += [f"--basetemp={work / 'tests'}"]
    status, output = _run(command, given, work)
    if status not in USABLE or not told.is_file():
        raise InputError(_refusal(version, expression, output))
    said: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
    if said["package"] != str(version.path / PACKAGE):
        raise InputError(
            f"{version.side}: {said['package']} was measured instead of "
            f"{version.label}. Remove what puts it first, such as a conftest.py that "
            "changes sys.path."
        )
    return said


def _run(
    command: Sequence[str], environment: Mapping[str, str], work: Path
) -> tuple[int, str]:
    """The exit status, and what it printed."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it starts can be ended with it
    )
    try:
        output, _ = process.communicate()
    finally:
        _end(process)
    return process.returncode, output


def _end(process: subprocess.Popen[str]) -> None:
    """And whatever it has started: what is left behind would slow the next one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _refusal(version: Version, expression: str | None, output: str) -> str:
    last = [line.strip() for line in output.splitlines() if line.strip()]
    flag = f"-k {expression}: " if "expression passed to '-k'" in output else ""
    return f"{flag}pytest failed on {version.side}, {version.label}: " + " | ".join(
        last[-LAST_LINES:]
    )
