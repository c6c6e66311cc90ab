"""Runs of a trainer for the suite: standard inputs, and each distinct run made once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.profiles import Profile
from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers.protocols import Trainer
from reference_trainers.results import RunReport, StepRecord
from reference_trainers.spec import TrainingSpec

STANDARD: dict[str, Any] = {
    "do_train": True,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "learning_rate": 1e-3,
    "max_source_length": 64,
    "max_target_length": 16,
    "max_steps": 5,
    "max_train_samples": 24,
    "max_eval_samples": 6,
    "max_predict_samples": 6,
    "save_strategy": "no",
}


@dataclass(frozen=True)
class Inputs:
    """The files that standard runs read, built from a seed."""

    model: Path
    """A tiny T5 without dropout."""
    dropout_model: Path
    """The same with dropout."""
    deep_model: Path
    """Without dropout; two layers in the encoder, one in the decoder."""
    rows: Path
    """JSON Lines of ragged lengths: `text` and `summary`."""

    def flags(self) -> dict[str, Any]:
        return {
            "model_name_or_path": str(self.model),
            "train_file": str(self.rows),
            "validation_file": str(self.rows),
            "test_file": str(self.rows),
        }


def build_inputs(top: Path) -> Inputs:
    """The same bytes every time."""
    # One layer a side: what frameworks compile anew for each run is half as long
    shallow: dict[str, Any] = {"num_layers": 1, "num_decoder_layers": 1}
    return Inputs(
        model=tiny_t5(top / "model", dropout_rate=0.0, **shallow),
        dropout_model=tiny_t5(top / "dropout_model", dropout_rate=0.1, **shallow),
        deep_model=tiny_t5(top / "deep_model", dropout_rate=0.0, num_decoder_layers=1),
        rows=write_jsonl(top / "rows.jsonl", ragged_rows(50, seed=3)),
    )


@dataclass(frozen=True)
class Finished:
    """One finished run."""

    report: RunReport
    folder: Path

    @property
    def steps(self) -> list[StepRecord]:
        return self.report.steps

    @property
    def losses(self) -> list[float]:
        return [step.loss for step in self.steps]

    @property
    def row_ids(self) -> list[list[int] | str]:
        return [step.row_ids for step in self.steps]

    @property
    def files(self) -> set[str]:
        """Every file in the output folder, relative to it."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix() for path in found}

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


class Runs:
    """Makes runs of one trainer on one profile, and remembers them."""

    def __init__(self, trainer: Trainer, profile: Profile, inputs: Inputs, top: Path):
        self.trainer = trainer
        self.profile = profile
        self.inputs = inputs
        self._top = top
        self._made: dict[str, Finished] = {}

    def spec(self, **flags: Any) -> TrainingSpec:
        """The standard run with `flags` changed."""
        return TrainingSpec(
            **{**STANDARD, **self.inputs.flags(), **self.profile.flags, **flags}
        )

    def __call__(self, again: int = 0, **flags: Any) -> Finished:
        """The run with these flags; `again` asks for one more of the same."""
        key = json.dumps([again, flags], sort_keys=True)
        if key not in self._made:
            name = hashlib.sha256(key.encode()).hexdigest()[:12]
            folder = self._top / self.trainer.name.replace(":", "-") / name
            report = self.trainer.run(self.spec(output_dir=str(folder), **flags))
            self._made[key] = Finished(report, folder)
        return self._made[key]


MakeRuns = Callable[[str], Runs]
