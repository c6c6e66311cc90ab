"""A life at random: whatever is done to an output folder, what is in it stays true.

    LIFE_MOVES=20000 pytest tests/life/test_random_life.py -s

draws so many moves, other ones each time, or those of `--hypothesis-seed N`; a plain
`pytest` a few, always the same. Some six in seven can be made where they come: there is
a checkpoint to resume from, or to damage. A life that breaks an invariant is shortened
by hypothesis, which prints the moves that are left of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import (
    InputError,
    RunReport,
    TrainingStopped,
    learning_rate,
    verify_checkpoint,
)
from reference_trainers.files import Lock
from tests.life.runs import FIRST_IS_BEST, Inputs, Life, dies, in_child

MOVES = int(os.environ.get("LIFE_MOVES", "60"))
LENGTH = 12  # moves of one life
OPERATIONS = 60  # about as many changes of files as a run makes
MODEL = "model.safetensors"
# Two runs that are not each other's, of two lengths and two rates
FLAGS = st.fixed_dictionaries(
    {
        "seed": st.sampled_from([1, 2]),
        "max_steps": st.sampled_from([2, 4]),
        "learning_rate": st.sampled_from([1e-2, 1e-2, 3e-2]),
        "do_eval": st.sampled_from([False, False, True]),
        "do_predict": st.sampled_from([False, False, True]),
        "overwrite_output_dir": st.sampled_from([False, False, False, True]),
    }
)
USERS = ["notes.txt", "runs/exp1.txt", "checkpoint-2/mine", "checkpoint-9/mine"]
BEST = {name: value for name, value in FIRST_IS_BEST.items() if name != "max_steps"}
WITH_BEST = st.sampled_from([{}, {}, BEST])


class OutputFolder(RuleBasedStateMachine):
    """One folder, what is done to it, and what must be so after each move."""

    inputs: ClassVar[Inputs]
    moves: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp())
        self.life = Life(self.inputs, self.top / "output")
        self.elsewhere = Life(self.inputs, self.top / "elsewhere")
        self.users: list[Path] = []
        self.overwriting = False  # by a run that was killed: the next start may end it

    def teardown(self) -> None:
        shutil.rmtree(self.top)

    @contextmanager
    def move(
        self, may_lose: bool = False, killed: bool = False, starts: bool = True
    ) -> Iterator[None]:
        """A move, and the look around after it.

        `may_lose`: checkpoints may go; `killed`: half-done things may lie about;
        `starts`: a run, which puts those in order.
        """
        OutputFolder.moves += 1
        before = sound(self.life.folder)
        hidden = {*self.life.folder.glob(".*")}
        yield
        for path in self.users:
            assert path.read_text() == "mine", f"{path} of the user's"
        if not may_lose and not self.overwriting:
            lost = before.keys() - sound(self.life.folder).keys()
            assert not lost, f"lost: {lost}"
        if starts:
            self.overwriting = killed and (may_lose or self.overwriting)
        if not killed:
            left = {*self.life.folder.glob(".*")} - hidden
            assert not left, f"left behind: {left}"
            self.look_at_report()

    def attempt(self, life: Life, **flags: Any) -> RunReport | None:
        try:
            return life.run(**flags)
        except (InputError, TrainingStopped):
            return None

    @rule(flags=FLAGS, best=WITH_BEST)
    def train(self, flags: dict[str, Any], best: dict[str, Any]) -> None:
        with self.move(may_lose=flags["overwrite_output_dir"]):
            report = self.attempt(self.life, **flags, **best)
            if report is not None:
                assert report.model_step is not None
                assert len(report.steps) == report.total_steps >= flags["max_steps"]
                assert not list(self.life.folder.glob(".*"))

    @rule(flags=FLAGS, best=WITH_BEST, at=st.integers(1, OPERATIONS))
    def kill(self, flags: dict[str, Any], best: dict[str, Any], at: int) -> None:
        """At the n-th change of a file in the folder."""
        count = iter(range(1, 1_000_000))

        def watch(event: str, path: str) -> None:
            if path.startswith(str(self.life.folder)) and next(count) == at:
                dies()

        with self.move(may_lose=flags["overwrite_output_dir"], killed=True):
            status = in_child(lambda: self.life.run(**flags, **best), watch)
            assert status in (0, 2, -signal.SIGKILL)

    @rule(flags=FLAGS, at=st.integers(1, 4))
    def stop(self, flags: dict[str, Any], at: int) -> None:
        """In the n-th step."""
        count, step = iter(range(1, 1000)), NumpyBackend.train_step

        def stopped(backend: NumpyBackend, *given: Any) -> Any:
            if next(count) == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(backend, *given)

        with (
            self.move(may_lose=flags["overwrite_output_dir"]),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(NumpyBackend, "train_step", stopped)
            self.attempt(self.life, **flags)

    @rule()
    def judge(self) -> None:
        with self.move():
            self.attempt(self.life, do_train=False, do_eval=True)

    @rule(flags=FLAGS, here=st.booleans(), which=st.integers(0, 3))
    def resume(self, flags: dict[str, Any], here: bool, which: int) -> None:
        folder = (self.life if here else self.elsewhere).folder
        there = sorted(folder.glob("checkpoint-*"))
        if there:
            named = {"resume_from_checkpoint": str(there[which % len(there)])}
            with self.move(may_lose=flags["overwrite_output_dir"]):
                self.attempt(self.life, **flags, **named)

    @rule(flags=FLAGS)
    def train_elsewhere(self, flags: dict[str, Any]) -> None:
        with self.move(starts=False):
            self.attempt(self.elsewhere, **flags)

    @rule(which=st.integers(0, 7))
    def damage(self, which: int) -> None:
        """A file of a checkpoint, as a disk would; what it held may be lost."""
        there = sorted(self.life.folder.glob("checkpoint-*/*.safetensors"))
        if there:
            with self.move(may_lose=True, starts=False):
                os.truncate(there[which % len(there)], 9)

    @rule(name=st.sampled_from(USERS))
    def add_a_users_file(self, name: str) -> None:
        path = self.life.folder / name
        with self.move(starts=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine")
            self.users.append(path)

    @rule(flags=FLAGS)
    def start_a_second(self, flags: dict[str, Any]) -> None:
        """While a first holds the folder."""
        with (
            self.move(starts=False),
            Lock(self.life.folder),
            pytest.raises(InputError, match="another run is writing there"),
        ):
            self.life.run(**flags)

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


def test_whatever_happens_what_is_there_stays_true(inputs: Inputs) -> None:
    OutputFolder.inputs = inputs
    run_state_machine_as_test(
        OutputFolder,
        settings=settings(
            max_examples=max(1, MOVES // LENGTH),
            stateful_step_count=LENGTH,
            derandomize="LIFE_MOVES" not in os.environ,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{OutputFolder.moves} moves")
    assert OutputFolder.moves > MOVES / 2
