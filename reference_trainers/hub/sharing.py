"""What a run shares: asked before it begins, pushed beside it, reported at its end.

`check_sharing` before rows are read, `Sharing.saved` after a checkpoint,
`Sharing.finished` after the output folder is whole. One push at a time, each in a
process of its own with a limit of time (see ``client``); one that fails is told, and
made up for by the next.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reference_trainers.checkpoints.keep import checkpoints, users_files
from reference_trainers.checkpoints.manifest import (
    MANIFEST,
    OPTIMIZER,
    STEPS,
    TRAINER_STATE,
)
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.files import at_home, files_in, refusals_told, write_whole
from reference_trainers.folder import claimed
from reference_trainers.hub.process import Client
from reference_trainers.report.progress import say
from reference_trainers.results import REPORT_FILE, RunReport
from reference_trainers.spec import TrainingSpec

PATIENCE = 10.0  # seconds that training waits for a push, once for each
ANSWER_SECONDS = 60.0  # to ask whether a push is allowed; and to begin one
BYTES_PER_SECOND = 500_000  # a slow line; the limit of an upload follows from it
TRAINING_ONLY = {MANIFEST, OPTIMIZER, STEPS, TRAINER_STATE}
END = "End of training"
LATER = "python -m reference_trainers push"


@dataclass
class Push:
    """What is sent in one commit, by the names in the repository."""

    message: str
    files: dict[str, Path]
    texts: dict[str, str] = field(default_factory=dict)
    checkpoints: tuple[Path, ...] = ()
    """Those that it makes up for, or brings itself."""

    @property
    def seconds(self) -> float:
        """How long it may take."""
        size = sum(path.stat().st_size for path in self.files.values())
        return ANSWER_SECONDS + size / BYTES_PER_SECOND


def repository_of(spec: TrainingSpec) -> str:
    """The repository that a run pushes to; without an owner it is the user's."""
    named = spec.push_to_hub_model_id or spec.hub_model_id
    return named or at_home(spec.output_dir or "").resolve().name


def check_sharing(
    spec: TrainingSpec, published: RunReport | None, tell: Callable[[str], None] = say
) -> str:
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
        tell(f"{asked}: {answer['failed']} It is tried again when all is written.")
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
        self._sending: tuple[Path, ...] = ()  # checkpoints that are being pushed
        self._outlived: threading.Thread | None = None  # a push that was waited for

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
        files = own_files(checkpoint)
        model = {n: path for n, path in files.items() if n not in TRAINING_ONLY}
        if strategy == "checkpoint":
            self._unsent = [checkpoint]
        elif strategy == "all_checkpoints":
            self._unsent.append(checkpoint)
        push = Push(f"Training in progress, step {step}", model)
        if self.busy_with():
            self._ended(push, {"failed": "the push before it is still under way."})
        else:
            self._start(push)
            self._sending = (checkpoint, *push.checkpoints)

    def busy_with(self) -> tuple[Path, ...]:
        """Checkpoints whose push is under way, after some waiting: they must stay.

        Most pushes are done by then, so that each save is a commit. One that takes
        longer is waited for once; later saves are made up for by the next push.
        """
        running = self._running
        if running is None:
            return ()
        if running is not self._outlived:
            end = time.monotonic() + PATIENCE
            while running.is_alive() and time.monotonic() < end and not self.stop():
                running.join(0.1)
            self._outlived = running
        return self._sending if running.is_alive() else ()

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
        push.checkpoints = tuple(self._unsent)
        for checkpoint in push.checkpoints:
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
        self._ended(push, answer)

    def _ended(self, push: Push, answer: dict[str, Any]) -> None:
        """Remembers what came of a push, and says it."""
        problem = answer.get("refused") or answer.get("failed")
        self.pushes.append({"message": push.message, "problem": problem, **answer})
        if problem is None:
            self._unsent = [p for p in self._unsent if p not in push.checkpoints]
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
    with refusals_told(str(folder)):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder.")
    with claimed(folder) as claim:
        if claim.report is None:
            begun = any(checkpoints(folder))
            what = "the run there has not ended: start it again to end and push it"
            left = what if begun else "no run has left its results there"
            raise InputError(f"{folder}: {left}.")
        asked = {"push_to_hub": True, "output_dir": str(folder), **flags}
        spec = TrainingSpec(**{**claim.report.spec, **asked})
        # What it would warn of, the push itself is about to meet
        repository = check_sharing(spec, claim.report, tell=lambda warning: None)
        with closing(Sharing(spec, repository, stop)) as sharing:
            return sharing.finished(folder, claim.report)
