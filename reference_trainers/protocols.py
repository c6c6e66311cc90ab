"""The protocols: a trainer, a backend, and what a backend is told of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, SupportsFloat

import numpy as np

if TYPE_CHECKING:
    from reference_trainers.data.batches import Batch, GlobalBatch, Rows
    from reference_trainers.errors import TrainingStopped
    from reference_trainers.models.generation import GenerationSettings
    from reference_trainers.models.source import ModelSource
    from reference_trainers.recipe.plan import Plan
    from reference_trainers.results import RunReport
    from reference_trainers.spec import TrainingSpec


class Trainer(Protocol):
    """What the conformance suite tests."""

    @property
    def name(self) -> str: ...

    @property
    def refuses(self) -> Mapping[str, str]:
        """By flag, the sentence with which `run` refuses a value other than its
        default; read without importing a framework. Absent: nothing is refused."""

    def run(self, spec: TrainingSpec) -> RunReport:
        """Runs `spec` and writes its output folder.

        Raises `InputError` for what the user can mend, `TrainingStopped` on a signal.
        """


@dataclass(frozen=True)
class Update:
    """What one optimizer update reports.

    Both may live on the device: ``float()`` waits for them, and only then.
    """

    loss: SupportsFloat
    """Mean token loss of the global batch."""
    grad_norm: SupportsFloat
    """Global norm of the whole averaged gradient, before clipping."""


@dataclass(frozen=True)
class State:
    """All that a step leaves behind: numpy arrays by Hugging Face parameter name."""

    parameters: Mapping[str, np.ndarray]
    """Weights as `save_pretrained` names them; a tied weight once."""
    exp_avg: Mapping[str, np.ndarray] = field(default_factory=dict)
    """AdamW's first moments; empty before the first update."""
    exp_avg_sq: Mapping[str, np.ndarray] = field(default_factory=dict)
    """AdamW's second moments."""
    updates: int = 0
    """Updates that changed the parameters: AdamW's bias correction counts these."""


class Backend(Protocol):
    """What a framework supplies to get the shared loop; numpy at the boundary.

    Beside this, one of two ways to train: `train_step`, or a `fit` of its own.
    """

    devices: int
    """Data-parallel devices; a micro-batch holds this many per-device batches."""
    pad_to_multiple_of: int
    """Lengths are rounded up to it, which bounds the number of compiled programs."""

    @classmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        """The model of `source`, in `spec.dtype`, ready to train or generate."""

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        """Summed token loss of a batch, and its number of target tokens."""

    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        """Token ids, int (batch, length <= settings.max_length), start token first."""

    def state(self) -> State:
        """A copy of parameters and moments on the host."""

    def restore(self, state: State) -> None:
        """Goes on from `state`, whichever framework it came from."""


class Progress(Protocol):
    """Where a run stands, and what it does beside training."""

    step: int
    """The first step to take: 0, or where the checkpoint left off."""
    checkpoint: Path | None
    """The checkpoint that a run goes on from; its state is restored already."""

    @property
    def stop(self) -> TrainingStopped | None:
        """Set once a signal asked the run to stop."""

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        """Remembers an update without waiting for the device."""

    def log(self) -> None: ...

    def evaluate(self, backend: Backend) -> None: ...

    def save(self, backend: Backend) -> None: ...


class SteppingBackend(Backend, Protocol):
    """A backend that the shared loop trains."""

    def train_step(self, batch: GlobalBatch, learning_rate: float, step: int) -> Update:
        """One optimizer update on one global batch."""


class FittingBackend(Backend, Protocol):
    """A backend that brings the training loop of its framework."""

    def fit(self, rows: Rows, plan: Plan, run: Progress) -> None:
        """Trains as `loop.fit` does; calls `loop.after_update` after every update."""
