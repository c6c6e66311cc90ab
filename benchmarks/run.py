"""Runs the benchmarks and prints their figures: `python -m benchmarks run`."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.output import check_output, write_output
from benchmarks.table import table
from conformance.profiles import PROFILES
from reference_trainers import InputError, OneSentenceParser, find_trainer

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "benchmarks" / "suite"
NO_TESTS, NOT_UNDERSTOOD = 5, 4  # pytest's exit statuses


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0; 1 where a benchmark failed; 2 for a wrong command."""
    try:
        return run(parser().parse_args(arguments))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    made = OneSentenceParser(
        prog="python -m benchmarks run", description=__doc__, allow_abbrev=False
    )
    made.add_argument(
        "--quick", action="store_true", help="the tiny shape alone, and few rounds"
    )
    made.add_argument(
        "--trainer",
        action="append",
        metavar="NAME",
        help="a registered trainer, or package.module:attribute of your own; may be "
        "given more than once; default: every one that can run here",
    )
    made.add_argument(
        "--profile",
        default="cpu",
        metavar="NAME",
        help="hardware and precision, as the conformance suite names them",
    )
    made.add_argument(
        "-k", dest="words", metavar="WORDS", help="only benchmarks of such names"
    )
    made.add_argument(
        "--batch",
        type=int,
        metavar="ROWS",
        help="rows of a batch on each device; default: those of the shape, 4",
    )
    made.add_argument(
        "--effort",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="so many times the usual rounds and seconds; default: %(default)s",
    )
    made.add_argument(
        "--list", action="store_true", help="name the benchmarks, and measure nothing"
    )
    made.add_argument(
        "--json", type=Path, metavar="FILE", help="where the record is written"
    )
    return made


def run(asked: argparse.Namespace) -> int:
    """Runs pytest in the environment of the profile, and prints what it recorded."""
    check(asked)
    profile = PROFILES[asked.profile]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        ended = subprocess.run(
            command(asked, file),
            cwd=ROOT,
            env=environment(profile.environment),
        )
        if ended.returncode == NO_TESTS:
            raise InputError(
                f"-k {asked.words}: no benchmark has such a name; "
                "`python -m benchmarks run --list` names them."
            )
        if ended.returncode == NOT_UNDERSTOOD:
            raise InputError(f"-k {asked.words}: give words joined by and, or, not.")
        if asked.list:
            return ended.returncode
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if not text:
        print("Nothing was measured.", file=sys.stderr)
        return 1
    print(table(json.loads(text)))
    if asked.json is not None:
        write_output("--json", asked.json, text)
    return min(ended.returncode, 1)


def check(asked: argparse.Namespace) -> None:
    """Raises `InputError` for a trainer or a profile that is not known, or not here."""
    if not 0 < asked.effort < math.inf:
        raise InputError(f"--effort {asked.effort:g}: give a number above 0.")
    if asked.batch is not None and asked.batch < 1:
        raise InputError(f"--batch {asked.batch}: give a number of rows, 1 or more.")
    for name in asked.trainer or ():
        find_trainer(name)
    if asked.profile not in PROFILES:
        known = ", ".join(PROFILES)
        raise InputError(
            f"--profile {asked.profile}: no such profile; there are: {known}."
        )
    profile = PROFILES[asked.profile]
    if profile.launcher:
        raise InputError(
            f"--profile {asked.profile}: benchmarks are measured in one process, and "
            f"it starts {profile.processes}."
        )
    if asked.json is not None:  # before half an hour, not after it
        check_output("--json", asked.json)
    reason = profile.missing()
    if reason is not None:
        raise InputError(f"--profile {asked.profile}: {reason}.")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's, with further variables.

    In a worker of pytest-xdist, pytest-benchmark would measure nothing.
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return own | dict(variables)


def command(asked: argparse.Namespace, file: Path) -> list[str]:
    """pytest on the suite alone, without the project's own options."""
    made = [sys.executable, "-m", "pytest", str(SUITE.relative_to(ROOT))]
    made += ["--collect-only", "-q"] if asked.list else ["-v"]
    made += ["--confcutdir", str(SUITE), "-o", "addopts=", "-o", "timeout=0"]
    made += ["-ra", "-W", "ignore", "-p", "no:cacheprovider", "-p", "no:xdist"]
    made += ["--benchmark-quiet", f"--benchmark-json={file}"]
    made += ["--profile", asked.profile, "--effort", str(asked.effort)]
    made += ["--batch", str(asked.batch)] if asked.batch else []
    made += ["--quick"] if asked.quick else []
    made += ["-k", asked.words] if asked.words else []
    for name in asked.trainer or ():
        made += ["--trainer", name]
    return made
