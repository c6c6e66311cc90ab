"""Workers: a process for each (subject, profile), which answers one request at a time.

It stays alive, and is replaced when it dies, hangs or grows too large. Nothing is
pickled: specs and reports travel as JSON.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

from conformance.forking.forked import Process, fork
from conformance.profiles import Profile
from conformance.subject import Subject

MODULE = "conformance.worker"
LIMIT = 300.0  # seconds that one run may take; `--run-timeout` changes it
KEPT = 4  # workers that live at a time: each holds a framework, some 0.7 GB
LARGEST = 3e9  # bytes of a worker: TensorFlow keeps 12 MB of a run, 59 on two devices


def command_of(profile: Profile, *arguments: str) -> list[str]:
    """What starts a process of the profile."""
    python = profile.launcher or (sys.executable,)
    return [*python, "-m", MODULE, "--profile", profile.name, *arguments]


def environment_of(profile: Profile) -> dict[str, str]:
    """This process's, the profile's, and the same places to import from."""
    places = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    return {**os.environ, **profile.environment, "PYTHONPATH": places}


class Worker:
    """A process of one profile that answers requests."""

    def __init__(self, subject: Subject, profile: Profile):
        self.profile = profile
        self.said = tempfile.NamedTemporaryFile()  # noqa: SIM115
        replies, theirs = os.pipe()
        with open(self.said.name, "ab") as stderr:  # with a place of its own in it
            environment = environment_of(profile)
            forked = fork(subject, profile, (), environment, stderr, replies=theirs)
            self.process: Process = forked or subprocess.Popen(
                command_of(profile, "--replies", str(theirs)),
                env=environment,
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
            ended = "timeout" if isinstance(error, TimeoutError) else "crash"
            reply = {"ended": ended, "text": f"{error}, its process is ended. "}
        self.said.seek(begin)
        said = self.said.read().decode("utf-8", errors="replace")
        if reply["ended"] in ("crash", "timeout"):
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


def worker_of(subject: Subject, profile: Profile) -> Worker:
    """The worker of the two; of all workers the last used ones are kept."""
    key = (subject.text, profile.name)
    if key in _WORKERS and not _WORKERS[key].usable:
        _WORKERS.pop(key).close()
    if key not in _WORKERS:
        _WORKERS[key] = Worker(subject, profile)
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
