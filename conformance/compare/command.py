"""Runs one spec through several trainers, each in its own process, and compares them.

Knows the trainers by their command line and their files alone, as anyone could.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from conformance.compare import json as compare_json
from conformance.compare import page, table
from conformance.compare.comparison import Comparison, TrainerRun, compare
from conformance.compare.results import collect
from reference_trainers import (
    REPORT_FILE,
    SECRETS,
    InputError,
    Listed,
    TrainingSpec,
    json_text,
    listed,
    parse,
    write_whole,
)

PAGE = "compare.html"
CONTENT = "compare.json"
COMMAND = (sys.executable, "-m", "reference_trainers")
RUNNING: set[subprocess.Popen] = set()  # ended where the comparison is
BAD_INPUT = 2  # exit status of a trainer that refused its input


def main(
    trainers: str,
    of_the_run: Sequence[str],
    look: bool = False,
    note: str | None = None,
    jobs: int = 1,
) -> int:
    """Runs, compares, writes the page, prints the table; the exit status.

    `look`: trainers that differ are shown, and are no failure. `note`: a paragraph to
    show on the page. `jobs`: trainers that run at a time.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "matplotlib is not installed; compare draws the curves with it."
        )
    spec = parse(of_the_run)
    if not spec.trains_evaluates_or_predicts:
        raise InputError("Nothing to do: give --do_train, --do_eval or --do_predict.")
    names, not_run = choose(trainers, listed())
    out = prepare_output(spec, names)
    ran = run_all(names, jobs, partial(run_trainer, of_the_run, spec, out, jobs))
    if all(run.refused for run in ran):
        refuse(ran, out)
    comparison = compare(spec, [*(run.run for run in ran), *not_run])
    written = write(comparison, out, note)
    print(table.plain_text(comparison))
    print(f"page: {written}")
    if any(run.run.report is None for run in ran) or comparison.agreed is None:
        return 1
    return 0 if comparison.agreed or look else 1


def choose(
    trainers: str, installed: Sequence[Listed]
) -> tuple[list[str], list[TrainerRun]]:
    """The trainers to run, and those of `all` that cannot run here, with the reason."""
    known = {entry.name: entry for entry in installed}
    names: list[str] = []
    not_run: list[TrainerRun] = []
    asked = [name.strip() for name in trainers.split(",") if name.strip()]
    for name in asked:
        if name == "all":
            names += [entry.name for entry in installed if entry.runs_here]
            not_run += [
                TrainerRun(entry.name, "not run", entry.reason)
                for entry in installed
                if not entry.runs_here
            ]
        elif name in known and not known[name].runs_here:
            raise InputError(
                f"--trainers {name}: it cannot run here: {known[name].reason}"
            )
        elif name in known or re.fullmatch(r"[\w.]+:[\w.]+", name):
            names.append(name)
        else:
            raise InputError(
                f"--trainers {name}: no such trainer; there are: {', '.join(known)}. "
                "Name another one as package.module:attribute."
            )
    _check_number(trainers, asked, names, not_run)
    return names, not_run


def _check_number(
    trainers: str, asked: list[str], names: list[str], not_run: list[TrainerRun]
) -> None:
    folders = [folder_name(name) for name in names]
    for name, folder in zip(names, folders, strict=True):
        if folders.count(folder) > 1:
            raise InputError(f"--trainers {trainers}: {name} comes twice.")
    if "all" not in asked and len(names) < 2:
        raise InputError(
            f"--trainers {trainers}: name two or more, separated by commas, or all."
        )
    if not names:
        reasons = "; ".join(f"{run.trainer}: {run.reason}" for run in not_run)
        raise InputError(f"No trainer can run here: {reasons or 'none is installed'}")


def folder_name(trainer: str) -> str:
    """Under the output folder; a name like package.module:attribute is none itself."""
    return re.sub(r"[^\w.-]", "_", trainer)


def prepare_output(spec: TrainingSpec, names: Sequence[str]) -> Path:
    """The output folder, without what an earlier comparison would be mistaken for."""
    if not spec.output_dir:
        raise InputError("--output_dir: name the folder to write the comparison into.")
    out = Path(spec.output_dir).expanduser()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not spec.overwrite_output_dir:
            raise InputError(
                f"{out} is not empty. Name another --output_dir, "
                "or pass --overwrite_output_dir."
            )
        for stale in [out / PAGE, out / CONTENT]:
            stale.unlink(missing_ok=True)
        for name in names:  # a report stays: by it a run knows the files it replaces
            log_file(out, name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--output_dir {out}: {error.strerror}.") from error
    return out


def log_file(out: Path, trainer: str) -> Path:
    return out / f"{folder_name(trainer)}.log"


@dataclass(frozen=True)
class Ran:
    """A trainer's run, and whether it refused the input."""

    run: TrainerRun
    refused: bool = False


def run_all(
    names: Sequence[str], jobs: int, run_one: Callable[[str], Ran]
) -> list[Ran]:
    """Runs each trainer, `jobs` at a time, and says how it goes."""

    def told(name: str) -> Ran:
        say(f"{name}: started ({names.index(name) + 1} of {len(names)})")
        ran = run_one(name)
        say(f"{name}: {outcome(ran)}")
        return ran

    with ThreadPoolExecutor(jobs) as pool:
        started = [pool.submit(told, name) for name in names]
        try:
            return [future.result() for future in started]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in started):
                for process in [*RUNNING]:  # one may only just have begun
                    process.terminate()
                wait(started, timeout=0.5)  # it may be saving a checkpoint
            raise


def run_trainer(
    of_the_run: Sequence[str], spec: TrainingSpec, out: Path, jobs: int, name: str
) -> Ran:
    """Runs a trainer into its own folder and reads what it left there."""
    folder = out / folder_name(name)
    # The last --output_dir counts, so the caller's own may stay where it is
    command = [*COMMAND, "--trainer", name, *of_the_run, f"--output_dir={folder}"]
    bar = jobs == 1 and sys.stderr.isatty()  # two would write over one another
    log = None if bar else log_file(out, name)
    begin, earlier = time.monotonic(), report_there(folder)
    status = run_process(command, log)
    seconds = time.monotonic() - begin
    if status:
        reason = failure(status, log, spec)
        failed = TrainerRun(name, "failed", reason, seconds=seconds)
        return Ran(failed, refused=status == BAD_INPUT)
    if log:
        log.unlink(missing_ok=True)
    if earlier is not None and report_there(folder) == earlier:
        reason = f"it ended well, but left the {REPORT_FILE} of an earlier run"
        return Ran(TrainerRun(name, "failed", reason, seconds=seconds))
    return Ran(collect(name, folder, seconds))


def report_there(folder: Path) -> tuple[int, int] | None:
    """What tells the report in a folder from one that was written before."""
    with suppress(FileNotFoundError):
        found = os.stat(folder / REPORT_FILE)
        return found.st_ino, found.st_mtime_ns
    return None


def run_process(command: Sequence[str], log: Path | None) -> int:
    """The exit status. What it says goes to the terminal, or its stderr into `log`."""
    with ExitStack() as stack:
        # Its stdout never joins ours, which holds the table and nothing else
        stdout, stderr = sys.stderr, None
        if log:
            stderr = stack.enter_context(open(log, "w", encoding="utf-8"))
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL if log else stdout, stderr=stderr
        )
        RUNNING.add(process)
        try:
            return process.wait()
        finally:
            RUNNING.discard(process)


def failure(status: int, log: Path | None, spec: TrainingSpec) -> str:
    """Why a trainer failed, in its own last words where they were captured."""
    ended = f"exit status {status}"
    if status < 0:
        ended = f"ended by {signal.Signals(-status).name}"
    if log is None or not log.exists():
        return f"{ended}; its messages went to the terminal"
    text = log.read_text(encoding="utf-8", errors="replace")
    for secret in (getattr(spec, name) for name in SECRETS):
        if secret and secret in text:
            text = text.replace(secret, "***")
            log.write_text(text, encoding="utf-8")
    return last_line(text) or ended


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def outcome(ran: Ran) -> str:
    run = ran.run
    if run.report is None:
        return f"{run.status} after {run.seconds:.0f} s: {run.reason}"
    return f"finished in {run.seconds:.0f} s"


def refuse(ran: Sequence[Ran], out: Path) -> NoReturn:
    """Every trainer refused the input: so the input is at fault."""
    for run in ran:
        log_file(out, run.run.trainer).unlink(missing_ok=True)
    with suppress(OSError):  # an empty folder is ours
        out.rmdir()
    if sys.stderr.isatty():
        raise InputError("Every trainer refused the input, for the reasons above.")
    raise InputError("\n".join(dict.fromkeys(run.run.reason or "" for run in ran)))


def write(comparison: Comparison, out: Path, note: str | None) -> Path:
    """compare.json, then the page that shows it."""
    try:
        write_whole(out / CONTENT, json_text(compare_json.as_dict(comparison)))
        write_whole(out / PAGE, page.page(comparison, note))
    except OSError as error:
        raise InputError(f"--output_dir {out}: {error.strerror}.") from error
    return out / PAGE


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
