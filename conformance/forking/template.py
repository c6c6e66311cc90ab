"""A process that has imported what a trainer imports, and forks to be one that runs it.

    python -m conformance.forking.template --trainer NAME --asked DESCRIPTOR

A start of Python with a framework takes 4 to 8 s of a core; a fork takes none. Nothing
is computed here, so a fork has no more than a new process has once it has imported the
same. Who asks, and how, is in `conformance.forking.forked`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import datasets.config

import reference_trainers
from conformance import worker
from conformance.forking.forked import DATASETS_CACHE, JAX_DEVICES
from reference_trainers import find_trainer

DESCRIPTORS = 4  # of a request: stdin, stderr, where its status goes, its replies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--asked", type=int, required=True)
    given = parser.parse_args()
    import_all(given.trainer)
    gc.freeze()  # else the first collection of each fork copies what all share
    with socket.socket(fileno=given.asked) as asked:
        while True:
            request, descriptors = received(asked)
            if request is None:
                return 0
            if os.fork() == 0:  # a minder, which has one child and tells how it ends
                asked.close()
                return minded(request, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            ended_minders()


def import_all(trainer: str) -> None:
    """What a run by this trainer imports, as far as it can be known from outside."""
    import_module("nltk")  # seconds of it are scipy.stats
    for name in reference_trainers.__all__:
        getattr(reference_trainers, name)
    backend_class = getattr(find_trainer(trainer), "backend_class", None)
    if backend_class is not None:
        backend_class()


def received(asked: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """A request, which is one line of JSON, and its descriptors; None: no more come."""
    text, descriptors, _, _ = socket.recv_fds(asked, 1 << 20, DESCRIPTORS)
    while text and not text.endswith(b"\n"):
        text += asked.recv(1 << 20)
    return (json.loads(text) if text else None), descriptors


def ended_minders() -> None:
    """None of them stays as a zombie."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def minded(request: dict[str, Any], descriptors: list[int]) -> int:
    """Forks the process that was asked for; in it, the status with which it ends."""
    child = os.fork()
    if child == 0:
        become(request, descriptors)
        return worker.main(request["arguments"])
    stdin, stderr, status, *replies = descriptors
    for descriptor in (stdin, stderr, *replies):
        os.close(descriptor)
    _, ended = os.waitpid(child, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """This process is as one that was started for the request alone."""
    stdin, stderr, status, *replies = descriptors
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    if DATASETS_CACHE in os.environ:  # each session of tests has one
        datasets.config.HF_DATASETS_CACHE = Path(os.environ[DATASETS_CACHE])
    if JAX_DEVICES in os.environ and "jax" in sys.modules:
        count = int(os.environ[JAX_DEVICES])
        sys.modules["jax"].config.update("jax_num_cpu_devices", count)
    os.chdir(request["folder"])
    for descriptor, number in ((stdin, 0), (stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if replies:
        request["arguments"] += ["--replies", str(replies[0])]
    os.write(status, f"{os.getpid()}\n".encode())  # from now on it may be killed
    os.close(status)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends it
    sys.exit(main())
