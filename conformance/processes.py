"""Starts one command several times: each process is told, in the words of every
framework, which of how many it is.

    python -m conformance.processes 2 -m package.module ARGUMENTS ...

PyTorch is told as torchrun tells it, JAX by JAX_*, TensorFlow by TF_CONFIG. It waits
for all, whatever becomes of one: that the others notice is theirs to do.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

USAGE = "usage: python -m conformance.processes NUMBER SCRIPT|-m MODULE ARGUMENTS ..."


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0, or the first that is another, as a shell counts it."""
    if len(arguments) < 2 or not arguments[0].isdecimal() or not int(arguments[0]):
        print(USAGE, file=sys.stderr)
        return 2
    size, command = int(arguments[0]), [sys.executable, *arguments[1:]]
    processes = [
        subprocess.Popen(command, env={**os.environ, **words})
        for words in environments(size)
    ]

    def stop(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    statuses = [process.wait() for process in processes]
    first = next((status for status in statuses if status), 0)
    return first if first >= 0 else 128 - first


@contextmanager
def running(
    size: int, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[list[subprocess.Popen]]:
    """The processes by rank, each to be killed; none outlives the block."""
    processes = []
    try:
        for words in environments(size):
            with open(log, "ab") as said:
                process = subprocess.Popen(
                    command,
                    env={**environment, **words},
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                )
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def environments(size: int) -> list[dict[str, str]]:
    """Of each process by rank; all of this machine."""
    master, coordinator, *own = free_addresses(size + 2)
    host, _, port = master.rpartition(":")
    return [
        {
            **{"MASTER_ADDR": host, "MASTER_PORT": port, "WORLD_SIZE": str(size)},
            **{"RANK": str(rank), "LOCAL_RANK": str(rank)},
            "JAX_COORDINATOR_ADDRESS": coordinator,
            **{"JAX_NUM_PROCESSES": str(size), "JAX_PROCESS_ID": str(rank)},
            "TF_CONFIG": json.dumps(
                {"cluster": {"worker": own}, "task": {"type": "worker", "index": rank}}
            ),
        }
        for rank in range(size)
    ]


def free_addresses(count: int) -> list[str]:
    """Different ones, on which nobody listens."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
