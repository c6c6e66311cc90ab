"""The one door to a run: `launch(subject, profile, spec)` gives its report.

In this process where the profile asks nothing of it. Else in a worker: a process for
each (subject, profile), which stays alive, takes one spec after another, and is
replaced when it dies or hangs. Nothing is pickled: specs and reports travel as JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from conformance.profiles import Profile
from conformance.subject import Subject
from conformance.worker import run_command
from reference_trainers import (
    REPORT_FILE,
    InputError,
    RunReport,
    TrainingSpec,
    TrainingStopped,
    flags_of_dict,
)

MODULE = "conformance.worker"
LIMIT = 300.0  # seconds that one request may take
KEPT = 4  # workers that live at a time: each holds a framework, some 0.7 GB
LARGEST = 3e9  # bytes of a worker: TensorFlow keeps 12 MB of a run, 59 on two devices


class Crashed(Exception):
    """A trainer ended neither well nor with one of the two errors that it may raise."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    said: str
    """Its stderr."""


def launch(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    """Runs `spec`; raises `InputError` and `TrainingStopped` as the trainer does."""
    if not profile.own_process:
        return subject.trainer.run(spec)
    if profile.processes > 1:
        return _launched(subject, profile, spec)
    request = {"trainer": subject.text, "spec": asdict(spec)}
    reply, said = _worker(subject, profile).ask(request)
    sys.stderr.write(said)
    match reply["ended"]:
        case "well":
            return _read(reply["report"])
        case "refused":
            raise InputError(reply["text"])
        case "stopped":
            raise TrainingStopped(reply["text"], reply["status"])
    close(subject, profile)  # who knows what it left behind
    raise Crashed(f"{subject.text} on {profile.name}:\n{reply['text']}")


def launch_command(subject: Subject, profile: Profile, arguments: list[str]) -> Ended:
    """`python -m reference_trainers --trainer TEXT ARGUMENTS ...`, without a process
    of its own; see `process_of` for that."""
    arguments = ["--trainer", subject.text, *arguments]
    if profile.processes > 1:
        return _started(profile, arguments)
    if profile.own_process:
        reply, said = _worker(subject, profile).ask({"arguments": arguments})
        if reply["ended"] != "command":
            raise Crashed(f"{subject.text} on {profile.name}:\n{reply['text']}")
        return Ended(reply["status"], said)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        with _stderr_into(file):
            status = run_command(arguments)
        file.seek(0)
        return Ended(status, file.read())


def _launched(subject: Subject, profile: Profile, spec: TrainingSpec) -> RunReport:
    """The report that the processes of a run leave in its folder."""
    assert spec.output_dir is not None
    arguments = flags_of_dict(spec.as_dict())
    ended = _started(profile, ["--trainer", subject.text, *arguments])
    sys.stderr.write(ended.said)
    if ended.status in (0, 3):
        return RunReport.read(Path(spec.output_dir))
    told = ended.said.strip().splitlines() or [""]
    if ended.status == 2:
        raise InputError(told[-1])
    if ended.status > 128:
        raise TrainingStopped(told[-1], ended.status)
    raise Crashed(f"{subject.text} on {profile.name}:\n{ended.said}")


def _started(profile: Profile, arguments: list[str]) -> Ended:
    """How the processes of one run ended, as the first of them did."""
    with tempfile.TemporaryDirectory() as top:
        launcher = subprocess.run(
            command_of(profile, "--told", top, "--", *arguments),
            env=environment_of(profile),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
        )
        status, said = Path(top, "status"), Path(top, "said")
        if not status.exists():
            return Ended(launcher.returncode or 1, launcher.stderr)
        ended = Ended(int(status.read_text()), said.read_text(encoding="utf-8"))
        if ended.status == 0 and launcher.returncode:  # the first is not all
            raise Crashed(f"a process of a run that ended well: {ended.said}")
        return ended


def process_of(
    subject: Subject,
    profile: Profile,
    arguments: list[str],
    log: IO[bytes],
    die_at: int = 0,
) -> subprocess.Popen:
    """The same in a process of its own, to be killed; its stderr goes into `log`.

    `die_at`: the operation on a file that it dies at; 0: none.
    """
    what = [f"--die-at={die_at}", "--", "--trainer", subject.text, *arguments]
    return subprocess.Popen(
        command_of(profile, *what),
        env=environment_of(profile),
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def command_of(profile: Profile, *arguments: str) -> list[str]:
    """What starts a process of the profile."""
    python = profile.launcher or (sys.executable,)
    return [*python, "-m", MODULE, "--profile", profile.name, *arguments]


def environment_of(profile: Profile) -> dict[str, str]:
    """This process's, the profile's, and the same places to import from."""
    places = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    return {**os.environ, **profile.environment, "PYTHONPATH": places}


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


# ---- workers ------------------------------------------------------------------------


class Worker:
    """A process of one profile that answers requests."""

    def __init__(self, profile: Profile):
        self.profile = profile
        self.said = tempfile.NamedTemporaryFile()  # noqa: SIM115
        replies, theirs = os.pipe()
        with open(self.said.name, "ab") as stderr:  # with a place of its own in it
            self.process = subprocess.Popen(
                command_of(profile, "--replies", str(theirs)),
                env=environment_of(profile),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs,),
                start_new_session=True,  # Ctrl-C is for pytest, which closes it
            )
        os.close(theirs)
        self.replies = replies

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The reply, and what it said on stderr meanwhile.

        A worker that dies or takes too long crashed.
        """
        self.said.seek(0, os.SEEK_END)
        begin = self.said.tell()
        line = json.dumps(request) + "\n"
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
            reply = self._reply()
        except (BrokenPipeError, TimeoutError) as error:
            self.close()
            reply = {"ended": "crash", "text": f"{error}, its process is ended. "}
        self.said.seek(begin)
        said = self.said.read().decode("utf-8", errors="replace")
        if reply["ended"] == "crash":
            reply["text"] += said
        return reply, said

    def _reply(self) -> dict[str, Any]:
        read, end = b"", time.monotonic() + LIMIT
        while not read.endswith(b"\n"):
            ready, _, _ = select.select([self.replies], [], [], 1.0)
            if ready:
                more = os.read(self.replies, 1 << 16)
                if not more:
                    raise BrokenPipeError("it gave no answer")
                read += more
            elif self.process.poll() is not None:
                raise BrokenPipeError(f"it ended with {self.process.returncode}")
            elif time.monotonic() > end:
                raise TimeoutError(f"no answer in {LIMIT:.0f} s")
        reply: dict[str, Any] = json.loads(read)
        return reply

    @property
    def usable(self) -> bool:
        """Whether it lives, and has not grown too large."""
        if self.process.poll() is not None:
            return False
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") < LARGEST

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdin and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.replies >= 0:
            os.close(self.replies)
            self.replies = -1


_WORKERS: OrderedDict[tuple[str, str], Worker] = OrderedDict()


def _worker(subject: Subject, profile: Profile) -> Worker:
    """The worker of the two; of all workers the last used ones are kept."""
    key = (subject.text, profile.name)
    if key in _WORKERS and not _WORKERS[key].usable:
        _WORKERS.pop(key).close()
    if key not in _WORKERS:
        _WORKERS[key] = Worker(profile)
    _WORKERS.move_to_end(key)
    while len(_WORKERS) > KEPT:
        _WORKERS.popitem(last=False)[1].close()
    return _WORKERS[key]


def close(subject: Subject, profile: Profile) -> None:
    """Ends the worker of the two, if there is one."""
    worker = _WORKERS.pop((subject.text, profile.name), None)
    if worker is not None:
        worker.close()


def close_all() -> None:
    """Ends every worker."""
    while _WORKERS:
        _WORKERS.popitem()[1].close()
