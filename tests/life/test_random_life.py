"""A life at random: whatever is done to an output folder, what is in it stays true.

    LIFE_MOVES=20000 pytest tests/life/test_random_life.py -s

makes so many moves; a plain `pytest` a few. A life that breaks tells its moves.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import (
    InputError,
    RunReport,
    TrainingStopped,
    learning_rate,
    verify_checkpoint,
)
from tests.life.runs import Inputs, Life, dies, in_child

MOVES = int(os.environ.get("LIFE_MOVES", "60"))
LENGTH = 12  # moves of one life
OPERATIONS = 60  # about as many changes of files as a run makes
ALLOWED = (InputError, TrainingStopped)
MODEL = "model.safetensors"
NAMES = (
    *("train", "train", "kill", "kill", "stop", "judge", "resume", "damage"),
    *("own_file", "elsewhere_first"),
)


class RandomLife:
    """One folder, the moves that it went through, and what must be so after each."""

    def __init__(self, inputs: Inputs, top: Path, seed: int):
        self.chance = random.Random(seed)
        self.life = Life(inputs, top / "output")
        self.elsewhere = Life(inputs, top / "elsewhere")
        self.users: dict[Path, str] = {}
        self.moves: list[str] = [f"seed {seed}"]

    def flags(self) -> dict[str, Any]:
        """Two runs that are not each other's, of two lengths and two rates."""
        return {
            "seed": self.chance.choice([1, 2]),
            "max_steps": self.chance.choice([2, 4]),
            "learning_rate": self.chance.choice([1e-2, 1e-2, 3e-2]),
            "do_eval": self.chance.random() < 0.3,
            "do_predict": self.chance.random() < 0.3,
            "overwrite_output_dir": self.chance.random() < 0.25,
        }

    def move(self) -> None:
        """One move at random, and the look around after it."""
        name = self.chance.choice(NAMES)
        self.moves.append(name)
        before = sound(self.life.folder)
        flags = getattr(self, name)()
        self.look(before, flags or {}, name)

    def attempt(self, life: Life, **flags: Any) -> RunReport | None:
        self.moves[-1] += f" {flags}"
        try:
            return life.run(**flags)
        except ALLOWED as error:
            self.moves[-1] += f" -> {error}"
            return None

    def train(self) -> dict[str, Any]:
        flags = self.flags()
        report = self.attempt(self.life, **flags)
        if report is not None:
            assert report.model_step is not None
            assert len(report.steps) == report.total_steps >= flags["max_steps"]
        return flags

    def kill(self) -> dict[str, Any]:
        flags, at = self.flags(), self.chance.randint(1, OPERATIONS)
        self.moves[-1] += f" at {at} {flags}"
        count = iter(range(1, 1_000_000))

        def watch(event: str, path: str) -> None:
            if path.startswith(str(self.life.folder)) and next(count) == at:
                dies()

        status = in_child(lambda: self.life.run(**flags), watch)
        assert status in (0, 2, -signal.SIGKILL)
        return flags

    def stop(self) -> dict[str, Any]:
        flags, at = self.flags(), self.chance.randint(1, 4)
        count, step = iter(range(1, 1000)), NumpyBackend.train_step

        def stopped(self: NumpyBackend, *given: Any) -> Any:
            if next(count) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(self, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(NumpyBackend, "train_step", stopped)
            self.attempt(self.life, **flags)
        return flags

    def judge(self) -> dict[str, Any]:
        flags = {"do_train": False, "do_eval": True}
        self.attempt(self.life, **flags)
        return flags

    def resume(self) -> dict[str, Any]:
        folder = self.chance.choice([self.life, self.elsewhere]).folder
        there = sorted(folder.glob("checkpoint-*"))
        if not there:
            return {}
        source = str(self.chance.choice(there))
        flags = self.flags() | {"resume_from_checkpoint": source}
        self.attempt(self.life, **flags)
        return flags

    def elsewhere_first(self) -> None:
        self.attempt(self.elsewhere, **self.flags())

    def damage(self) -> dict[str, Any]:
        """Of a checkpoint, as a disk would; the folder may lose what that held."""
        there = sorted(self.life.folder.glob("checkpoint-*/*.safetensors"))
        if there:
            os.truncate(self.chance.choice(there), 9)
        return {"overwrite_output_dir": True}

    def own_file(self) -> None:
        name = self.chance.choice(["notes.txt", "runs/exp1.txt", "checkpoint-9/mine"])
        path = self.life.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        self.users[path] = "mine"

    def look(self, before: dict[str, bytes], flags: dict[str, Any], name: str) -> None:
        """The invariants."""
        for path, content in self.users.items():
            assert path.read_text() == content, f"{path} of the user's"
        if not flags.get("overwrite_output_dir"):
            lost = before.keys() - sound(self.life.folder).keys()
            assert not lost, f"lost: {lost}"
        if name != "kill":
            hidden = [p.name for p in self.life.folder.glob(".*")]
            assert name in ("own_file", "damage", "elsewhere_first") or not hidden
            self.look_at_report()

    def look_at_report(self) -> None:
        """What is published is one run's, and the report says what it is."""
        folder = self.life.folder
        if any(folder.glob(".*")) or not (folder / "run_report.json").is_file():
            return  # a killed run's publishing is completed at the next start
        report = RunReport.read(folder)
        absent = [name for name in report.files if not (folder / name).is_file()]
        assert not absent, f"listed and absent: {absent}"
        if report.model_step is None:
            return
        assert [step.step for step in report.steps] == [*range(report.total_steps)]
        if not report.changes:
            spec = report.spec
            rates = [
                learning_rate(n, spec["learning_rate"], "linear", 0, report.total_steps)
                for n in range(report.total_steps)
            ]
            found = [step.learning_rate for step in report.steps]
            assert found == pytest.approx(rates), "the spec is not that of the steps"
        same = sound(folder).get(f"checkpoint-{report.model_step}")
        if same is not None and report.identity == identity_at(folder, report):
            assert (folder / MODEL).read_bytes() == same, "another model was published"


def identity_at(folder: Path, report: RunReport) -> Any:
    checkpoint = verify_checkpoint(folder / f"checkpoint-{report.model_step}")
    return checkpoint.manifest.identity


def sound(folder: Path) -> dict[str, bytes]:
    """The weights of each sound checkpoint."""
    found = {}
    for path in sorted(folder.glob("checkpoint-*")):
        try:
            verify_checkpoint(path)
        except InputError:
            continue
        found[path.name] = (path / MODEL).read_bytes()
    return found


def test_whatever_happens_what_is_there_stays_true(
    inputs: Inputs, tmp_path: Path
) -> None:
    for seed in range(max(1, MOVES // LENGTH)):
        life = RandomLife(inputs, tmp_path / str(seed), seed)
        for _ in range(LENGTH):
            try:
                life.move()
            except BaseException:
                print("\n".join(life.moves))
                raise
        shutil.rmtree(tmp_path / str(seed))
