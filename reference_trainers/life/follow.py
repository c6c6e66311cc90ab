"""The life of a process that is not the first of its run: it does what that one says.

It claims no folder, reads no row, writes no file and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from reference_trainers import loop
from reference_trainers.data.batches import GlobalBatch
from reference_trainers.errors import TrainingStopped
from reference_trainers.life.signals import stop_signals
from reference_trainers.models.generation import (
    GenerationSettings,
    generation_settings,
)
from reference_trainers.models.source import load_model
from reference_trainers.processes import share
from reference_trainers.processes.group import Ended, Group
from reference_trainers.protocols import Backend, Update
from reference_trainers.recipe.plan import Padding, Plan
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec

ENDED = "The first process has ended the run."


def follow(
    backend_class: Callable[[], type[Backend]], spec: TrainingSpec, group: Group
) -> RunReport:
    """The report of the run; raises what the first process's `run` does."""
    with stop_signals() as stopping:
        try:
            group.hear()  # it has the model and the rows: what is cached is there
            with group.together():
                source = load_model(spec)
                backend = backend_class().load(spec, source)
                settings = generation_settings(
                    spec, source.generation_config, source.config
                )
            follower = Follower(backend, group, settings, stopping.exit_status)
            while True:
                follower.serve()
        except Ended as ended:
            if ended.report is None:
                raise TrainingStopped(ENDED, ended.status) from None
            return RunReport.of(ended.report)


@dataclass
class Follower:
    """`Hooks` of such a process, and what it answers to words."""

    backend: Backend
    group: Group
    settings: GenerationSettings | None
    asked_to_stop: Callable[[], int | None]
    step: int = 0
    overflows: int = 0
    stop: TrainingStopped | None = None
    """What all agreed upon; the first process says how the run ends."""

    def serve(self) -> None:
        """Does what is said, until it is said to go on."""
        while (word := self.group.hear())["do"] != "go on":
            match word["do"]:
                case "fit":
                    self.fit(word)
                case "evaluate":
                    batch = share.batch_of(word)
                    share.evaluate_part(self.backend, self.group, batch)
                case "generate":
                    assert self.settings is not None
                    batch = share.batch_of(word)
                    share.generate_part(self.backend, self.group, batch, self.settings)
                case "state":
                    self.backend.state()
                case "restore":
                    self.backend.restore(share.state_of(word))

    def fit(self, word: dict[str, Any]) -> None:
        """Trains beside the first process, step by step."""
        self.step, self.overflows = word["step"], word["overflows"]
        padding = Padding(**word["plan"].pop("padding"))
        plan = Plan(**word["plan"], padding=padding)
        rows = share.HeardRows(plan.rows, self.group)
        with suppress(TrainingStopped):  # the next word is the last
            (self.backend.fit or partial(loop.fit, self.backend))(rows, plan, self)

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        self.overflows += not update.applied
        status = self.group.agreed(self.asked_to_stop())
        self.stop = TrainingStopped(ENDED, status) if status else None

    def log(self) -> None:
        """The first process does."""

    def evaluate(self) -> None:
        self.serve()

    def save(self) -> None:
        self.serve()
