"""The one door to what is measured: a model, a spec, a trainer with its data."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Effort, Measured, Tools, Watch
from benchmarks.shapes import MadeUpRows, Shape
from conformance.profiles import Profile
from reference_trainers import (
    ORACLE,
    Backend,
    BareStep,
    Batch,
    Floor,
    Hooks,
    InputError,
    ModelSource,
    SharedTrainer,
    Trainer,
    TrainingSpec,
    TrainingStopped,
    eval_batches,
    find_trainer,
    fit,
    load_model,
    plan_of,
)

STEPS = 100_000  # of a plan; the loop is stopped when enough is known


@dataclass(frozen=True)
class Opened:
    """A trainer's backend with its model, ready to be measured."""

    trainer: SharedTrainer
    spec: TrainingSpec
    shape: Shape
    source: ModelSource
    backend: Backend
    tools: Tools
    quick: bool
    """Of the framework's floors, the first alone: `torch.compile` takes a minute."""

    @property
    def devices(self) -> int:
        return self.backend.devices

    def train(self, ragged: bool, effort: Effort, with_floors: bool = True) -> Measured:
        """Steps of the trainer's own loop, each beside a step of each floor."""
        floors = self.floors if with_floors else None
        watch = Watch(self.backend, effort, floors, self.tools)
        self.fit(ragged, watch)
        return watch.measured

    def fit(self, ragged: bool, hooks: Hooks) -> None:
        """The trainer's own loop over made-up rows, until its hooks stop it."""
        rows = self.rows(ragged, 4096)
        padding = self.source.padding(self.spec, self.backend, self.shape.target)
        plan = plan_of(self.spec, len(rows), self.backend.devices, padding)
        with suppress(TrainingStopped):
            (self.backend.fit or partial(fit, self.backend))(rows, plan, hooks)

    def floors(self) -> dict[str, BareStep]:
        """Bare steps by name: of the trainer's framework, and PyTorch's eager one.

        They compute on one device, so nothing is measured against them on several.
        """
        if self.backend.devices > 1:
            return {}
        floor = self.trainer.floor_module()
        known = list(floor.STEPS.items()) if floor else []
        made = dict(known[:1] if self.quick else known)
        oracle = oracle_floor()
        if oracle is not None:
            made["eager"] = oracle.STEPS["eager"]
        return {name: make(self.spec, self.source) for name, make in made.items()}

    def rows(self, ragged: bool, rows: int) -> MadeUpRows:
        return MadeUpRows(self.shape, ragged, rows, len(self.source.tokenizer))

    def batches(self, ragged: bool, rows: int) -> list[Batch]:
        """So many rows as batches to evaluate, or to generate for."""
        made = self.rows(ragged, rows)
        padding = self.source.padding(self.spec, self.backend, self.shape.target)
        size = self.spec.per_device_eval_batch_size * self.backend.devices
        return [batch for _, batch in eval_batches(made, size, padding)]


def oracle_floor() -> Floor | None:
    """The floor of the oracle's framework, where it is installed."""
    try:
        oracle = find_trainer(ORACLE)
    except InputError:
        return None
    return oracle.floor_module() if isinstance(oracle, SharedTrainer) else None


@dataclass(frozen=True)
class Workshop:
    """All that the benchmarks of one session share."""

    profile: Profile
    top: Path
    """A folder for models, data and what runs write."""
    tools: Tools = field(default_factory=Tools)
    quick: bool = False
    models: dict[str, Path] = field(default_factory=dict)

    def model(self, shape: Shape) -> Path:
        """The folder of a shape's model, made once."""
        if shape.name not in self.models:
            self.models[shape.name] = shape.build(self.top / shape.name)
        return self.models[shape.name]

    def spec(self, shape: Shape, **flags: Any) -> TrainingSpec:
        """A run of this shape on this profile; it saves and logs nothing on its way."""
        asked: dict[str, Any] = {
            "model_name_or_path": str(self.model(shape)),
            "output_dir": str(self.top / "out"),
            "do_train": True,
            "max_steps": STEPS,
            "per_device_train_batch_size": shape.batch,
            "per_device_eval_batch_size": shape.batch,
            "max_source_length": shape.source,
            "max_target_length": shape.target,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
        return TrainingSpec(**asked | dict(self.profile.flags) | flags)

    def open(self, trainer: Trainer, shape: Shape) -> Opened:
        """Raises `InputError` for a trainer of another making: it has no backend."""
        if not isinstance(trainer, SharedTrainer):
            raise InputError(
                f"{trainer.name} is a Trainer without a Backend: its runs alone can be "
                "measured, as a whole."
            )
        spec = self.spec(shape)
        source = load_model(spec)
        backend = trainer.backend_class().load(spec, source)
        return Opened(trainer, spec, shape, source, backend, self.tools, self.quick)
