"""Starts the process that talks to the Hub, and ends it in time: see `client`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reference_trainers.spec import TrainingSpec

HERE = Path(__file__).parents[2]  # a script of a clone may run without an installation


class Client:
    """The process that talks to the Hub, for one job."""

    def __init__(self, spec: TrainingSpec):
        self.hub_token = spec.hub_token
        self.token = spec.hub_token or spec.token
        self._process: subprocess.Popen[str] | None = None

    def ask(self, job: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to a job; ``failed`` where there is none in time."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "reference_trainers.hub.client"],
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is the run's to answer
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.end()

        timer = threading.Timer(seconds, expire)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(job) + "\n")
                self._process.stdin.flush()  # and stays open: see `client`
            text = self._process.stdout.read()
        finally:
            timer.cancel()
            self.end()
            self._process.stdin.close()
            self._process.stdout.close()
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError:
            if expired.is_set():
                return {"failed": f"no answer of the Hub within {seconds:.0f} s."}
            return {"failed": "the upload was ended from outside."}
        return answer

    def _environment(self) -> dict[str, str]:
        """This process's, the token, and the place to import this package from."""
        places = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        flag = "--hub_token" if self.hub_token else "--token"
        source = {"TOKEN_OF": "HF_TOKEN"} if os.environ.get("HF_TOKEN") else {}
        return {
            **os.environ,
            **({"TOKEN_OF": flag} if self.token else source),
            "PYTHONPATH": os.pathsep.join(places),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **({"HF_TOKEN": self.token} if self.token else {}),
        }

    def end(self) -> None:
        """Ends it, whatever it does: a commit is made whole or not at all."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
