"""What a run shares: asked before it begins, pushed beside it, reported at its end.

`check_sharing` before rows are read, `Sharing.saved` after a checkpoint,
`Sharing.finished` after the output folder is whole. One push at a time, each in a
process of its own with a limit of time (see ``client``); one that fails is told, and
made up for by the next.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reference_trainers.checkpoints.keep import users_files
from reference_trainers.checkpoints.manifest import (
    MANIFEST,
    OPTIMIZER,
    STEPS,
    TRAINER_STATE,
)
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.files import files_in, write_whole
from reference_trainers.folder import claimed
from reference_trainers.report.progress import say
from reference_trainers.results import REPORT_FILE, RunReport
from reference_trainers.spec import TrainingSpec

ANSWER_SECONDS = 60.0  # to ask whether a push is allowed; and to begin one
BYTES_PER_SECOND = 500_000  # a slow line; the limit of an upload follows from it
TRAINING_ONLY = {MANIFEST, OPTIMIZER, STEPS, TRAINER_STATE}
HERE = Path(__file__).parents[2]  # a script of a clone may run without an installation
END = "End of training"
LATER = "python -m reference_trainers push"


@dataclass
class Push:
    """What is sent in one commit, by the names in the repository."""

    message: str
    files: dict[str, Path]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it may take."""
        size = sum(path.stat().st_size for path in self.files.values())
        return ANSWER_SECONDS + size / BYTES_PER_SECOND


class Client:
    """The process that talks to the Hub, for one job."""

    def __init__(self, spec: TrainingSpec):
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
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(places),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **({"HF_TOKEN": self.token} if self.token else {}),
        }

    def end(self) -> None:
        """Ends it, whatever it does: a commit is made whole or not at all."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def repository_of(spec: TrainingSpec) -> str:
    """The repository that a run pushes to; without an owner it is the user's."""
    named = spec.push_to_hub_model_id or spec.hub_model_id
    return named or Path(spec.output_dir or "").expanduser().resolve().name


def check_sharing(spec: TrainingSpec, published: RunReport | None) -> str:
    """The whole name of the repository, which is made if it is not there.

    Raises `InputError` where the Hub would refuse a push; warns where it is silent:
    it may answer when there is something to push.
    """
    repository = repository_of(spec)
    if not spec.push_to_hub:
        return repository
    if not spec.do_train and (published is None or published.model_step is None):
        raise InputError("--push_to_hub: no model is trained; give --do_train too.")
    job = {"repository": repository, "private": spec.hub_private_repo}
    answer = Client(spec).ask(job, ANSWER_SECONDS)
    asked = f"--push_to_hub: {repository}"
    if "refused" in answer:
        raise InputError(f"{asked}: {answer['refused']}")
    if "failed" in answer:
        say(f"{asked}: {answer['failed']} It is tried again when all is written.")
    whole: str = answer.get("repository", repository)
    return whole


def own_files(checkpoint: Path) -> dict[str, Path]:
    """A checkpoint's files by name, without what a user has put beside them."""
    names = {*files_in(checkpoint)} - {*users_files(checkpoint)}
    return {name: checkpoint / name for name in sorted(names)}


class Sharing:
    """The pushes of one run; without ``push_to_hub`` it does nothing."""

    def __init__(
        self, spec: TrainingSpec, repository: str, stop: Callable[[], int | None]
    ):
        """`stop` gives the exit status of a stop that is asked for."""
        self.spec = spec
        self.repository = repository
        self.stop = stop
        self.pushes: list[dict[str, Any]] = []
        """What came of each, in order: ``message``, ``commit`` or ``problem``."""
        self._client = Client(spec)
        self._running: threading.Thread | None = None
        self._unsent: list[Path] = []  # checkpoints that are asked for

    def saved(self, checkpoint: Path, step: int, is_last: bool) -> None:
        """Begins to push a checkpoint, if that is asked for.

        Of the last step's nothing is pushed but what can be resumed elsewhere: the
        result follows, and so there are as many commits as saves.
        """
        strategy = self.spec.hub_strategy
        if not self.spec.push_to_hub or strategy == "end":
            return
        if strategy == "every_save" and is_last:
            return
        self.wait()
        files = own_files(checkpoint)
        model = {n: path for n, path in files.items() if n not in TRAINING_ONLY}
        if strategy == "checkpoint":
            self._unsent = [checkpoint]
        elif strategy == "all_checkpoints":
            self._unsent.append(checkpoint)
        self._start(Push(f"Training in progress, step {step}", model))

    def finished(self, folder: Path, report: RunReport) -> RunReport:
        """Pushes what the report lists; the report, also on disk, says how that went.

        Raises `TrainingStopped` where a stop is asked for before the push is done.
        """
        if not self.spec.push_to_hub:
            return report
        names = [name for name in report.files if name != REPORT_FILE]
        text = replace(report, push=None).as_json()
        files = {name: folder / name for name in names}
        self.wait()
        self._start(Push(END, files, {REPORT_FILE: text}))
        self.wait()
        status = self.stop()
        last = self.pushes[-1] if self.pushes else {"message": "", "problem": ""}
        done = last["message"] == END and last["problem"] is None
        if status is not None and not done:
            raise TrainingStopped(
                f"Stopped while pushing; {folder} is whole. To push it: "
                f"{LATER} {folder}",
                status,
            )
        *earlier, last = self.pushes
        shared = replace(report, push={**last, "earlier": earlier})
        write_whole(folder / REPORT_FILE, shared.as_json())
        return shared

    def wait(self) -> None:
        """Until the push that is under way has ended; a stop ends it."""
        while self._running is not None and self._running.is_alive():
            self._running.join(0.1)
            if self.stop() is not None:
                self._client.end()  # a commit is made whole or not at all

    close = wait

    def _start(self, push: Push) -> None:
        last = self.spec.hub_strategy == "checkpoint"
        self._unsent = [path for path in self._unsent if path.is_dir()]
        for checkpoint in self._unsent:
            place = "last-checkpoint" if last else checkpoint.name
            push.files |= {
                f"{place}/{name}": path for name, path in own_files(checkpoint).items()
            }
        if self.stop() is None:
            self._running = threading.Thread(
                target=self._push, args=(push,), daemon=True
            )
            self._running.start()

    def _push(self, push: Push) -> None:
        job = {
            "repository": self.repository,
            "private": self.spec.hub_private_repo,
            "files": {name: str(path.resolve()) for name, path in push.files.items()},
            "texts": push.texts,
            "message": push.message,
        }
        try:
            answer = self._client.ask(job, push.seconds)
        except OSError as error:  # a file that is gone, no memory for a process
            answer = {"failed": f"{error.filename or 'the upload'}: {error.strerror}."}
        problem = answer.get("refused") or answer.get("failed")
        self.pushes.append({"message": push.message, "problem": problem, **answer})
        if problem is None:
            self._unsent = []
            say(f"{push.message}: pushed to {answer['url']}")
        elif push.message != END and self.stop() is None:  # of the end the report tells
            say(f"{push.message}: not pushed to {self.repository}: {problem}")


def push_folder(
    folder: Path, stop: Callable[[], int | None] = lambda: None, **flags: Any
) -> RunReport:
    """Pushes what a run left in a folder, as the end of that run would have.

    ``flags`` are those of the Hub that are other than the run's; ``stop`` is as for
    `Sharing`. Raises `InputError` where nothing is there to push, or the Hub would
    refuse it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    with claimed(folder) as claim:
        if claim.report is None:
            raise InputError(f"{folder}: no run has left its results there.")
        asked = {"push_to_hub": True, "output_dir": str(folder), **flags}
        spec = TrainingSpec(**{**claim.report.spec, **asked})
        repository = check_sharing(spec, claim.report)
        with closing(Sharing(spec, repository, stop)) as sharing:
            return sharing.finished(folder, claim.report)
