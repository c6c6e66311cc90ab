"""Runs of a trainer for the suite: standard inputs, and each distinct run made once."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from conformance.launch import Ended, launch, launch_command
from conformance.profiles import PRECISION_FLAGS, Profile
from conformance.subject import Subject
from conformance.workers import close
from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers import (
    InputError,
    RunReport,
    StepRecord,
    TrainingSpec,
    files_in,
    flags_of_dict,
)

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
BATCH = "per_device_train_batch_size"
PROGRESS = re.compile(r"step \d+/\d+ ")


@dataclass(frozen=True)
class Inputs:
    """The files that standard runs read, built from a seed."""

    model: Path
    """A tiny T5 without dropout."""
    dropout_model: Path
    """The same with dropout."""
    deep_model: Path
    """Without dropout; two layers in the encoder, one in the decoder."""
    gated_model: Path
    """The first as T5 v1.1 has it: gated GELU, and a head of its own."""
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
    v1_1: dict[str, Any] = {"gated": True, "tied": False}
    return Inputs(
        model=tiny_t5(top / "model", dropout_rate=0.0, **shallow),
        dropout_model=tiny_t5(top / "dropout_model", dropout_rate=0.1, **shallow),
        deep_model=tiny_t5(top / "deep_model", dropout_rate=0.0, num_decoder_layers=1),
        gated_model=tiny_t5(top / "gated_model", dropout_rate=0.0, **v1_1, **shallow),
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
        return set(files_in(self.folder))

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


class Runs:
    """Makes runs of one subject on one profile, and remembers them.

    The global batch is the same on any number of devices: a law gives the rows of all
    devices as the batch of one, and is answered as if there were one.
    """

    def __init__(self, subject: Subject, profile: Profile, inputs: Inputs, top: Path):
        self.subject = subject
        self.profile = profile
        self.inputs = inputs
        self._top = top / f"{subject.folder_name}-{profile.name}"
        self._made: dict[str, Finished] = {}
        self._missing: str | None = None
        """Why it does not compute on the profile's devices; None: not yet known."""

    def spec(self, **flags: Any) -> TrainingSpec:
        """The standard run with `flags` changed, for a law that starts it itself."""
        self._require_devices()
        return TrainingSpec(**self._flags(flags))

    def __call__(self, again: int = 0, **flags: Any) -> Finished:
        """The run with these flags; `again` asks for one more of the same."""
        key = json.dumps([again, flags], sort_keys=True)
        if key not in self._made:
            folder = self._top / hashlib.sha256(key.encode()).hexdigest()[:12]
            self._made[key] = self.into(folder, **flags)
        return self._made[key]

    def into(self, folder: Path, **flags: Any) -> Finished:
        """The run with these flags into this folder; it is not remembered."""
        spec = TrainingSpec(**self._flags({**flags, "output_dir": str(folder)}))
        return Finished(self.launch(spec), folder)

    def launch(self, spec: TrainingSpec) -> RunReport:
        """Any spec, through the one door."""
        if self._missing is not None:
            self._require_devices()
        try:
            report = launch(self.subject, self.profile, spec)
        except InputError:
            self._require_devices()  # where it has none, it may refuse all
            raise
        if self._missing is None:
            self._missing = self._missing_after(report)
            self._require_devices()
        return report

    def command(self, top: Path, *more: str, **flags: Any) -> Ended:
        """The same as a command line, with `more` arguments before its flags.

        It writes into `top/output`, if no other `output_dir` is given.
        """
        self._require_devices()
        flags = {"output_dir": str(top / "output"), **flags}
        arguments = [*more, *flags_of_dict(self._flags(flags))]
        return launch_command(self.subject, self.profile, arguments)

    def refused(self, top: Path, *more: str, **flags: Any) -> str:
        """The one sentence with which a command is refused.

        It ends with status 2, having changed nothing below `top`.
        """
        before = snapshot(top)
        ended = self.command(top, *more, **flags)
        lines = [line for line in ended.said.splitlines() if not PROGRESS.match(line)]
        assert ended.status == 2, f"exit status {ended.status}, not 2; {ended.said}"
        assert len(lines) == 1, f"one sentence on stderr is due, not: {ended.said}"
        after = snapshot(top)
        names = sorted(before.keys() | after.keys())
        changed = [name for name in names if before.get(name) != after.get(name)]
        assert not changed, f"a refused run changes or leaves behind: {changed}"
        return lines[0]

    def _require_devices(self) -> None:
        """Leaves out a law where the trainer does not compute on all devices.

        How many it computes on shows in a report: that of its first run, whichever
        law makes it, or of one step, if none has been made.
        """
        if self._missing is None:
            self._missing = self._missing_after_one_step()
        if self._missing:
            pytest.skip(f"not run: {self._missing}")

    def _missing_after_one_step(self) -> str:
        if self.profile.devices == 1:
            return ""
        folder = str(self._top / "one-step")
        flags = self._flags({"max_steps": 1, BATCH: 8, "output_dir": folder})
        try:
            report = launch(self.subject, self.profile, TrainingSpec(**flags))
        except InputError as error:
            return str(error)
        return self._missing_after(report)

    def _missing_after(self, report: RunReport) -> str:
        """Why it does not compute on the profile's devices; empty: it does."""
        found = report.hardware.get("devices")
        if self.profile.devices in (1, found):
            return ""
        close(self.subject, self.profile)
        return (
            f"{self.subject.text} computes on {found} device here; "
            f"{self.profile.name} has {self.profile.devices}"
        )

    def _flags(self, flags: dict[str, Any]) -> dict[str, Any]:
        for name in PRECISION_FLAGS:
            if name in flags:
                raise ValueError(
                    f"a law gives {name}={flags[name]!r}: the profile decides it; "
                    "name the profiles that the law holds on"
                )
        ours = {**STANDARD, **self.inputs.flags(), **self.profile.flags, **flags}
        return ours | {BATCH: self._share(ours[BATCH])}

    def _share(self, batch: int) -> int:
        """A device's part of the rows that all devices train on at a time."""
        part, left = divmod(batch, self.profile.devices)
        if left and batch > 0:
            pytest.skip(
                f"not run: a batch of {batch} is not to be divided among "
                f"{self.profile.devices} devices"
            )
        return part


def snapshot(top: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, with the age and content of each file."""
    return {
        path.relative_to(top).as_posix(): (
            path.stat().st_mtime_ns if path.is_file() else 0,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in top.rglob("*")
    }


class MakeRuns(Protocol):
    """Runs of any trainer by its text: on this profile, or the one named."""

    def __call__(self, text: str, on: str | None = None) -> Runs: ...
