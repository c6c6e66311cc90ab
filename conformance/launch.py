"""The one door to a run: `launch(subject, profile, spec)` gives its report.

In this process where the profile asks nothing of it and the trainer is of this clone,
else in a worker, or in processes that a launcher starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from conformance import workers
from conformance.forking.forked import Forked, Process, fork
from conformance.processes import environments
from conformance.profiles import Profile
from conformance.subject import Subject
from conformance.worker import run_command
from conformance.workers import close, command_of, environment_of, worker_of
from reference_trainers import (
    REPORT_FILE,
    InputError,
    RunReport,
    TrainingSpec,
    TrainingStopped,
    flags_of_dict,
)


class Crashed(Exception):
    """A trainer ended neither well nor with one of the two errors that it may raise."""


class TimedOut(Crashed):
    """A trainer gave no answer within the time limit of a run."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    said: str
    """Its stderr."""


def launch(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    """Runs `spec`; raises `InputError` and `TrainingStopped` as the trainer does."""
    if subject.command:
        return _commanded(subject, profile, spec)
    if _runs_here(subject, profile):
        return _run_here(subject, profile, spec)
    if profile.processes > 1:
        return _launched(subject, profile, spec)
    request = {"trainer": subject.text, "spec": asdict(spec)}
    reply, said = worker_of(subject, profile).ask(request)
    sys.stderr.write(said)
    match reply["ended"]:
        case "well":
            return _read(reply["report"])
        case "refused":
            raise InputError(reply["text"])
        case "stopped":
            raise TrainingStopped(reply["text"], reply["status"])
    close(subject, profile)  # who knows what it left behind
    raise _crash(subject, profile, reply)


def _runs_here(subject: Subject, profile: Profile) -> bool:
    """In this process: what a stranger does there could disturb the others' tests."""
    return subject.is_of_this_clone and not profile.own_process


def _run_here(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    assert subject.trainer is not None
    try:
        return subject.trainer.run(spec)
    except (InputError, TrainingStopped):
        raise
    except Exception as error:
        raise Crashed(f"{subject.text} on {profile.name}: {error!r}") from error


def _crash(subject: Subject, profile: Profile, reply: dict[str, Any]) -> Crashed:
    kind = TimedOut if reply["ended"] == "timeout" else Crashed
    return kind(f"{subject.text} on {profile.name}:\n{reply['text']}")


def launch_command(subject: Subject, profile: Profile, arguments: list[str]) -> Ended:
    """`python -m reference_trainers --trainer TEXT ARGUMENTS ...`, without a process
    of its own; see `process_of` for that."""
    if subject.command:
        return _ended([*subject.command, *arguments], profile)
    arguments = ["--trainer", subject.text, *arguments]
    if profile.processes > 1:
        return _started(subject, profile, arguments)
    if not _runs_here(subject, profile):
        reply, said = worker_of(subject, profile).ask({"arguments": arguments})
        if reply["ended"] != "command":
            raise _crash(subject, profile, reply)
        return Ended(reply["status"], said)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        with _stderr_into(file):
            status = run_command(arguments)
        file.seek(0)
        return Ended(status, file.read())


def _commanded(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    """The report that a command leaves which is given a spec file."""
    with tempfile.TemporaryDirectory() as top:
        file = Path(top) / "spec.yaml"
        file.write_text(spec.as_yaml(), encoding="utf-8")
        ended = launch_command(subject, profile, [str(file)])
    return _left(subject, profile, spec, ended)


def _launched(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    """The report that the processes of a run leave in its folder."""
    arguments = flags_of_dict(spec.as_dict())
    ended = _started(subject, profile, ["--trainer", subject.text, *arguments])
    return _left(subject, profile, spec, ended)


def _left(
    subject: Subject, profile: Profile, spec: TrainingSpec, ended: Ended
) -> RunReport:
    """What a command left in the output folder, or the error that its status means."""
    sys.stderr.write(ended.said)
    told = ended.said.strip().splitlines() or [""]
    if ended.status == 2:
        raise InputError(told[-1])
    if ended.status > 128:
        raise TrainingStopped(told[-1], ended.status)
    if ended.status not in (0, 3):
        raise Crashed(f"{subject.text} on {profile.name}:\n{ended.said}")
    assert spec.output_dir is not None
    try:
        return RunReport.read(Path(spec.output_dir))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Crashed(f"{subject.text} leaves no readable report: {error!r}") from error


def _started(subject: Subject, profile: Profile, arguments: list[str]) -> Ended:
    """How the processes of one run ended, as the first of them did."""
    with tempfile.TemporaryDirectory() as top:
        each = ["--told", top, "--", *arguments]
        launcher = _all_forked(subject, profile, each) or _ended(
            command_of(profile, *each), profile
        )
        status, said = Path(top, "status"), Path(top, "said")
        if not status.exists():
            return Ended(launcher.status or 1, launcher.said)
        ended = Ended(int(status.read_text()), said.read_text(encoding="utf-8"))
        if ended.status == 0 and launcher.status:  # the first is not all
            raise Crashed(f"a process of a run that ended well: {ended.said}")
        return ended


def _all_forked(
    subject: Subject, profile: Profile, arguments: list[str]
) -> Ended | None:
    """What `conformance.processes` does, with forked ones; None: it is to do it."""
    if not profile.is_on_this_machine:
        return None
    processes: list[Forked] = []
    end = time.monotonic() + workers.LIMIT
    with tempfile.TemporaryFile() as file:
        try:
            for words in environments(profile.processes):
                own = environment_of(profile) | words
                process = fork(subject, profile.alone, arguments, own, file)
                if process is None:
                    return None
                processes.append(process)
            statuses = [p.wait(max(0.0, end - time.monotonic())) for p in processes]
        except subprocess.TimeoutExpired:
            raise _too_long(profile) from None
        finally:
            for process in processes:
                process.kill()
        file.seek(0)
        status = next((status for status in statuses if status), 0)
        return Ended(status, file.read().decode("utf-8", errors="replace"))


def _too_long(profile: Profile) -> TimedOut:
    return TimedOut(f"{profile.name}: no end in {workers.LIMIT:.0f} s")


def _ended(command: list[str], profile: Profile) -> Ended:
    """How a command ended that has a process of its own."""
    try:
        process = subprocess.run(
            command,
            env=environment_of(profile),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=workers.LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise _too_long(profile) from None
    return Ended(process.returncode, process.stderr)


def process_of(
    subject: Subject,
    profile: Profile,
    arguments: list[str],
    log: IO[bytes],
    die_at: int = 0,
) -> Process:
    """The same in a process of its own, to be killed; its stderr goes into `log`.

    `die_at`: the operation on a file that it dies at; 0: none. A command cannot be
    told.
    """
    what = [f"--die-at={die_at}", "--", "--trainer", subject.text, *arguments]
    command = [*subject.command, *arguments] if subject.command else None
    environment = environment_of(profile)
    return fork(subject, profile, what, environment, log) or subprocess.Popen(
        command or command_of(profile, *what),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def _read(report: str) -> RunReport:
    """As anyone reads a report: from a folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / REPORT_FILE).write_text(report, encoding="utf-8")
        return RunReport.read(Path(folder))


@contextmanager
def _stderr_into(file: IO[str]) -> Iterator[None]:
    """All that this process says on stderr, libraries in C included, goes there."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        with redirect_stderr(file):
            yield
    finally:
        file.flush()
        os.dup2(kept, 2)
        os.close(kept)
