"""The protocols: a trainer, a backend, and what a training loop is told of its run."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, SupportsFloat

import numpy as np

from reference_trainers.errors import InputError
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.world import World

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

        Raises `InputError` for what the user can fix, `TrainingStopped` on a signal.
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
    applied: bool = True
    """False: fp16 overflowed, and parameters and moments are as they were."""


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
    loss_scale: LossScale | None = None
    """Of fp16; None: another precision."""


class Hooks(Protocol):
    """Where a run stands, and what is done beside training."""

    step: int
    """The first step to take: 0, or where the checkpoint left off."""
    overflows: int
    """Steps so far that fp16 left out: the learning rate does not count them."""

    @property
    def stop(self) -> TrainingStopped | None:
        """Set once a signal asked the run to stop."""

    def record(self, batch: GlobalBatch, update: Update, learning_rate: float) -> None:
        """Remembers an update without waiting for the device."""

    def log(self) -> None: ...

    def evaluate(self) -> None: ...

    def save(self) -> None: ...


class Backend(Protocol):
    """What a framework supplies to get the shared loop; numpy at the boundary.

    A backend is derived from this class: what has a value here may be left out.
    """

    world: World = World()
    """Which process this is among those of the run."""
    devices: int = 1
    """Data-parallel devices in all processes; a micro-batch holds this many
    per-device batches."""
    pad_to_multiple_of: int = 1
    """Lengths are rounded up to it, which bounds the number of compiled programs."""
    uniform_batches: bool = False
    """Every batch has all its rows, empty ones where rows are missing, and the
    micro-batches of an update one length: for programs compiled for a shape."""
    loss_scale: LossScale | None = None
    """Of fp16, between two steps; None: another precision, which needs none."""
    fit: Callable[[Rows, Plan, Hooks], None] | None = None
    """A training loop of the framework's own, in place of `loop.fit`; it calls
    `loop.after_update` after every update."""

    @property
    def device_kind(self) -> str:
        """What the report calls the device."""
        return "cpu"

    @property
    def compilations(self) -> int | None:
        """Programs compiled so far, where the framework compiles."""
        return None

    @property
    def scale(self) -> float:
        """What the loss is multiplied by before its gradient is taken."""
        return self.loss_scale.scale if self.loss_scale else 1.0

    def applies(self, grad_norm: SupportsFloat) -> bool:
        """Whether an update of this norm is one; the loss scale goes on from it.

        fp16 alone waits for the norm: without it every update is applied.
        """
        if self.loss_scale is None:
            return True
        finite = math.isfinite(float(grad_norm))
        self.loss_scale = self.loss_scale.after(finite)
        return finite

    @classmethod
    @abstractmethod
    def load(cls, spec: TrainingSpec, source: ModelSource) -> Self:
        """The model of `source`, in `spec.dtype`, ready to train or generate."""

    def train_step(self, batch: GlobalBatch, learning_rate: float) -> Update:
        """One optimizer update on one global batch, which carries its own tokens,
        seeds and rows. What has a `fit` of its own needs none."""
        raise TypeError(f"{type(self).__name__} has neither train_step nor fit")

    @abstractmethod
    def evaluate(self, batch: Batch) -> tuple[float, int]:
        """Summed token loss of a batch, and its number of target tokens."""

    @abstractmethod
    def generate(self, batch: Batch, settings: GenerationSettings) -> np.ndarray:
        """Token ids, int (batch, length <= settings.max_length), start token first."""

    @abstractmethod
    def state(self) -> State:
        """A copy of parameters and moments on the host."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Takes over `state`, whichever framework it came from.

        Parameters that it leaves out stay as they are.
        """

    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the parameters, by the names of `state`; copies nothing."""

    @classmethod
    def reach(cls, spec: TrainingSpec) -> None:
        """Connects to the TPU of the name that `spec` gives, before anything else.

        Raises `InputError` where none answers.
        """
        raise InputError(f"--tpu {spec.tpu}: this trainer knows no TPU by its name.")

    @classmethod
    def join(cls, world: World, spec: TrainingSpec) -> None:
        """Meets the other processes that the launcher started, before anything else.

        Raises `InputError` where the trainer knows of no other process.
        """
        raise InputError(
            f"The launcher started {world.size} processes, and this trainer computes "
            "in one: start one."
        )

    @classmethod
    def reduce(cls, values: np.ndarray) -> np.ndarray:
        """The sum over all processes that have joined; the identity where one is."""
        return values

    def peak_memory_bytes(self) -> int | None:
        """The most that the device held at a time, where it tells."""
        return None


class BareStep(Protocol):
    """One update of the framework's own making: compiled, and nothing around it."""

    @property
    def compilations(self) -> int:
        """Programs compiled so far."""

    def __call__(self, batch: GlobalBatch) -> SupportsFloat:
        """Updates on a batch of one micro-batch, at a constant rate; its mean token
        loss, which may live on the device: ``float()`` waits for it."""


class Floor(Protocol):
    """What a trainer is measured against: a module of its framework (`floor.py`)."""

    STEPS: Mapping[str, Callable[[TrainingSpec, ModelSource], BareStep]]
    """By name, what makes a bare step with the model of a source; first the one that is
    soonest ready."""
    SEARCHES: Mapping[
        str,
        Callable[
            [TrainingSpec, ModelSource],
            Callable[[Batch, GenerationSettings], np.ndarray],
        ],
    ]
    """By name, what makes a `generate` of the framework's own, if it has one."""

    def matmul(self, spec: TrainingSpec, size: int) -> Callable[[], object]:
        """What multiplies two square matrices in `spec.compute_dtype`, and waits."""
