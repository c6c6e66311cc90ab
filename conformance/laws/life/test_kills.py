"""Laws of a run that is killed or asked to stop: nothing is lost, nothing differs.

    pytest conformance/laws/life/test_kills.py --kills 20 -s

kills each trainer 20 times, at random instants and inside its writes.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.forking.forked import Process
from conformance.launch import process_of
from conformance.law import law
from conformance.laws.resuming import assert_same_state, flags, untimed
from conformance.profiles import ALL, EXACT
from conformance.runs import Finished, Runs
from reference_trainers import RunReport, flags_of_dict, verify_checkpoint

PATIENCE = 480.0  # seconds that a process may take to reach its next checkpoint


class Victim:
    """One command that is started, killed and started again."""

    def __init__(self, run: Runs, folder: Path, steps: int):
        self.process: Process | None = None
        changed = {"max_steps": steps, "output_dir": str(folder)}
        self.run = run
        self.folder = folder
        self.arguments = flags_of_dict(run.spec(**flags(run) | changed).as_dict())
        self.log = folder.with_suffix(".log")

    def start(self, die_at: int = 0) -> Process:
        """`die_at`: the file operation to die at; 0: none."""
        with open(self.log, "ab") as log:
            run = self.run
            self.process = process_of(
                run.subject, run.profile, self.arguments, log, die_at
            )
        return self.process

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def sound(self) -> set[str]:
        """Names of the checkpoints, each of which must verify."""
        folders = list(self.folder.glob("checkpoint-*"))
        for folder in folders:
            verify_checkpoint(folder)
        return {folder.name for folder in folders}

    def wait_for_a_checkpoint(self, process: Process) -> None:
        """Until the process has written one more, or ended."""
        before = set(self.folder.glob("checkpoint-*"))
        end = time.monotonic() + PATIENCE
        while (
            process.poll() is None and set(self.folder.glob("checkpoint-*")) == before
        ):
            assert time.monotonic() < end, self.said()
            time.sleep(0.005)

    def finish(self) -> Finished:
        status = self.start().wait(PATIENCE)
        assert status == 0, self.said()
        return Finished(RunReport.read(self.folder), self.folder)


@pytest.fixture
def victims(run: Runs) -> Iterator[Callable[[Path, int], Victim]]:
    """Makes them; none is left running by a law that fails."""
    made: list[Victim] = []

    def victim(folder: Path, steps: int) -> Victim:
        made.append(Victim(run, folder, steps))
        return made[-1]

    yield victim
    for each in made:
        each.end()


@law("kills.anywhere", profiles=EXACT)
def test_killed_run_ends_as_if_never_killed(
    run: Runs,
    victims: Callable[[Path, int], Victim],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """SIGKILL at any instant, inside a write too: the run that resumes is the same."""
    kills = request.config.getoption("--kills")
    steps = 20 + 10 * kills
    whole = run(**flags(run) | {"max_steps": steps, "save_steps": steps})
    victim = victims(tmp_path / "killed", steps)
    name = run.subject.text
    chance = random.Random(f"{name} {kills}")
    for number in range(kills):
        before = victim.sound()
        # Inside a write: about nine operations make a checkpoint
        if number % 2 == 0 and not run.subject.command:
            process = victim.start(die_at=chance.randint(1, 40))
        else:
            process = victim.start()
            victim.wait_for_a_checkpoint(process)
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        status = process.wait(PATIENCE)
        after = victim.sound()
        print(f"{name} kill {number + 1}: {status}, {len(after)} sound")
        assert before <= after, f"lost: {sorted(before - after)}"
        assert status in (-signal.SIGKILL, 0), victim.said()
    made = victim.finish()
    assert_same_state(made, whole, steps)
    assert untimed(made.steps) == untimed(whole.steps)
    assert list(made.folder.glob(".*")) == [], "leftovers of killed writes stay"


@law("kills.signals", profiles=ALL)
def test_a_stopped_run_saves_and_says_how_to_resume(
    victims: Callable[[Path, int], Victim], tmp_path: Path
) -> None:
    """SIGTERM ends the step, saves, and exits with 128 + the signal."""
    # tests/life/test_stops.py sends it, and the others, at every turn of a run
    victim = victims(tmp_path / "stopped", 100_000)
    process = victim.start()
    victim.wait_for_a_checkpoint(process)
    process.send_signal(signal.SIGTERM)
    status = process.wait(PATIENCE)
    said = victim.said().splitlines()[-1]
    assert status == 128 + signal.SIGTERM, said
    newest = max(victim.sound(), key=lambda name: int(name.partition("-")[2]))
    assert newest in said
    assert "--resume_from_checkpoint" in said
