"""The fuzz as a whole: workers that take numbers, a bar, counts and findings."""

from __future__ import annotations

import json
import os
import queue
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.fuzz.inputs import build_inputs

LIMIT = 60.0  # seconds that one input may take
FIRST_LIMIT = 180.0  # the first waits for the libraries to be loaded
LARGEST = 3e9  # bytes of memory that a worker may grow to


@dataclass(frozen=True)
class Outcome:
    """What became of the input of a number."""

    number: int
    kind: str
    told: str
    status: int | None
    """None: the process died, or was ended as it took too long."""
    said: str
    problems: tuple[str, ...]


class Worker:
    """A process that answers, and is started anew where it can't."""

    def __init__(self, seed: int, inputs: Path, top: Path):
        self.seed, self.inputs, self.top = seed, inputs, top
        self.process: subprocess.Popen[bytes] | None = None
        self.replies = -1

    def judge(self, number: int) -> Outcome:
        limit = LIMIT
        if self.process is None or not self._is_small():
            self.close()
            self._start()
            limit = FIRST_LIMIT
        assert self.process is not None and self.process.stdin is not None
        made = {"kind": "?", "told": "it was not even made"}
        try:
            self.process.stdin.write(f"{number}\n".encode())
            self.process.stdin.flush()
            made = self._reply(limit)
            ended = self._reply(LIMIT)
        except (BrokenPipeError, TimeoutError) as error:
            self.close()
            problem = (str(error),)
            return Outcome(number, made["kind"], made["told"], None, "", problem)
        return Outcome(
            number,
            made["kind"],
            made["told"],
            ended["status"],
            ended["said"],
            tuple(ended["problems"]),
        )

    def _start(self) -> None:
        self.top.mkdir(parents=True, exist_ok=True)
        for name in ("tmp", "home"):
            (self.top / name).mkdir(exist_ok=True)
        places = os.pathsep.join(os.path.abspath(place) for place in sys.path)
        self.replies, theirs = os.pipe()
        self.read = b""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "conformance.fuzz.worker"),
                *("--seed", str(self.seed), "--top", str(self.top)),
                *("--inputs", str(self.inputs), "--replies", str(theirs)),
            ],
            env={
                **os.environ,
                "PYTHONPATH": places,
                "TMPDIR": str(self.top / "tmp"),
                "HF_HOME": str(self.top / "home"),
                "HF_DATASETS_CACHE": str(self.top / "cache"),
                "HF_HUB_OFFLINE": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "OMP_NUM_THREADS": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs,),
            start_new_session=True,  # Ctrl-C is for the one that started it
        )
        os.close(theirs)

    def _reply(self, limit: float) -> dict[str, Any]:
        end = time.monotonic() + limit
        while b"\n" not in self.read:
            ready, _, _ = select.select([self.replies], [], [], 1.0)
            if ready:
                more = os.read(self.replies, 1 << 16)
                if not more:
                    assert self.process is not None
                    raise BrokenPipeError(f"the process died: {self.process.wait()}")
                self.read += more
            elif time.monotonic() > end:
                raise TimeoutError(f"it takes more than {limit:.0f} s")
        line, _, self.read = self.read.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _is_small(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            return True  # it is dead, which the next input tells
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") < LARGEST

    def kill(self) -> None:
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> None:
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        os.close(self.replies)
        self.process = None
        shutil.rmtree(self.top, ignore_errors=True)


def outcomes(numbers: Iterable[int], seed: int, jobs: int) -> Iterator[Outcome]:
    """Of every input of these numbers, as they come, by so many processes."""
    with tempfile.TemporaryDirectory(dir=memory(), prefix="fuzz-") as folder:
        top = Path(folder)
        build_inputs(top / "inputs")
        waiting = iter(numbers)
        lock, ended = threading.Lock(), threading.Event()
        done: queue.SimpleQueue[Outcome | BaseException | None] = queue.SimpleQueue()
        workers = [Worker(seed, top / "inputs", top / str(n)) for n in range(jobs)]

        def work(worker: Worker) -> None:
            try:
                while not ended.is_set():
                    with lock:
                        number = next(waiting, None)
                    if number is None:
                        break
                    done.put(worker.judge(number))
                done.put(None)
            except BaseException as error:
                done.put(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        try:
            left = jobs
            while left:
                outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome is None:
                    left -= 1
                else:
                    yield outcome
        finally:
            ended.set()
            for worker in workers:
                worker.kill()  # its thread sees that, and starts no other
            for thread in threads:
                thread.join()
            for worker in workers:
                worker.close()


def memory() -> str | None:
    """A folder in memory, where there is one: files come and go by the million."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
