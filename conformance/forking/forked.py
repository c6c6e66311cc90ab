"""Processes of a profile, forked from one that has imported the framework already.

`fork(subject, profile, arguments)` is as a `Popen` of `python -m conformance.worker
--profile NAME ARGUMENTS ...`. What is a stranger's, and a profile with a launcher or
with variables that an import may read, is started anew.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import IO

from conformance.processes import environments
from conformance.profiles import Profile
from conformance.subject import Subject
from reference_trainers import listed

DATASETS_CACHE = "HF_DATASETS_CACHE"
JAX_DEVICES = "JAX_NUM_CPU_DEVICES"
KEPT = 3  # templates that live at a time: each holds a framework
# Variables that are read when a run begins, or which a fork has its own way with: any
# other may have been read by an import, and has a template of its own
OF_A_RUN = {*environments(1)[0], DATASETS_CACHE, JAX_DEVICES, "PYTEST_CURRENT_TEST"}


class Forked:
    """A process that is no child of this one: what its minder tells of it."""

    def __init__(self, status: int, stdin: IO[bytes] | None):
        self._status = status
        self._told = b""
        self.stdin = stdin
        self.returncode: int | None = None
        while b"\n" not in self._told:
            self._hear()
        self.pid = int(self._told.partition(b"\n")[0])

    def poll(self) -> int | None:
        """Its status, below 0 for a signal; None: it lives."""
        while self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._hear()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._status], [], [], left)[0]:
                raise subprocess.TimeoutExpired(["a forked process"], timeout or 0)
            self._hear()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _hear(self) -> None:
        """One more piece of: its number, a line; its status, a line."""
        more = os.read(self._status, 64)
        self._told += more
        lines = self._told.split(b"\n")
        if len(lines) > 2:
            self.returncode = int(lines[1])
        elif not more:
            raise ChildProcessError("a process was lost, and its template with it")
        if self.returncode is not None:
            os.close(self._status)


Process = subprocess.Popen | Forked


class Template:
    """The process that is forked."""

    def __init__(self, trainer: str, environment: Mapping[str, str]):
        self.trainer = trainer
        self.asked, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "conformance.forking.template"),
                    *("--trainer", trainer, "--asked", str(theirs.fileno())),
                ],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stderr: IO[bytes],
        replies: int | None,
    ) -> Forked:
        """`replies`: a worker's; it has a stdin then, for what it is asked."""
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": os.getcwd(),
        }
        stdin, ours = os.pipe()
        told, status = os.pipe()
        given = [
            stdin,
            stderr.fileno(),
            status,
            *([] if replies is None else [replies]),
        ]
        socket.send_fds(self.asked, [json.dumps(request).encode() + b"\n"], given)
        os.close(stdin)
        os.close(status)
        if replies is None:
            os.close(ours)
        return Forked(told, None if replies is None else os.fdopen(ours, "wb"))

    def close(self) -> None:
        self.asked.close()
        self.process.kill()
        self.process.wait()


_TEMPLATES: OrderedDict[tuple[str, ...], Template] = OrderedDict()


def fork(
    subject: Subject,
    profile: Profile,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stderr: IO[bytes],
    replies: int | None = None,
) -> Forked | None:
    """The process; None: it is to be started anew."""
    trainer = _trainer_like(subject)
    if trainer is None or profile.launcher or profile.environment.keys() - OF_A_RUN:
        return None
    own = ["--profile", profile.name, *arguments]
    return _template(trainer, environment).fork(own, environment, stderr, replies)


def _template(trainer: str, environment: Mapping[str, str]) -> Template:
    """That of the trainer and the environment; of all, the last used ones are kept."""
    read = {k: v for k, v in environment.items() if k not in OF_A_RUN}
    key = (trainer, *map("=".join, sorted(read.items())))
    if key not in _TEMPLATES or _TEMPLATES[key].process.poll() is not None:
        _TEMPLATES[key] = Template(trainer, read)
    _TEMPLATES.move_to_end(key)
    while len(_TEMPLATES) > KEPT:
        _TEMPLATES.popitem(last=False)[1].close()
    return _TEMPLATES[key]


def _trainer_like(subject: Subject) -> str | None:
    """A registered trainer of which a process of `subject` imports most."""
    if not subject.is_of_this_clone:
        return None
    names = _names()
    return subject.text if subject.text in names else next(iter(names), None)


@cache
def _names() -> tuple[str, ...]:
    """Those that run here; transformers imports PyTorch, whose trainers are first."""
    return tuple(found.name for found in listed() if found.runs_here)


@atexit.register  # a session within a session leaves them to the next one
def close_templates() -> None:
    while _TEMPLATES:
        _TEMPLATES.popitem()[1].close()
