"""Laws of a run that is killed or asked to stop: nothing is lost, nothing differs.

    pytest conformance/laws/test_kills.py --kills 20 -s

kills each trainer 20 times, at random instants and inside its writes.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conformance import dying
from conformance.runs import Finished, Runs
from reference_trainers.checkpoints.manifest import verify
from reference_trainers.cli import flags_of_dict
from reference_trainers.results import RunReport

PATIENCE = 240.0  # seconds that a process may take to reach its next checkpoint
STATE = ("model.safetensors", "optimizer.safetensors")


def flags(run: Runs, steps: int) -> dict[str, Any]:
    return {
        "model_name_or_path": str(run.inputs.dropout_model),
        "max_train_samples": 18,
        "max_steps": steps,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
    }


class Victim:
    """One command that is started, killed and started again."""

    def __init__(self, run: Runs, folder: Path, steps: int):
        spec = run.spec(**flags(run, steps), output_dir=str(folder)).as_dict()
        self.folder = folder
        self.arguments = ["--trainer", run.trainer.name, *flags_of_dict(spec)]
        self.log = folder.with_suffix(".log")

    def start(self, die_at: int = 0) -> subprocess.Popen:
        """`die_at`: the file operation to die at; 0: none."""
        program = [sys.executable, "-m", "reference_trainers"]
        if die_at:
            program = [sys.executable, dying.__file__, str(die_at)]
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [*program, *self.arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def sound(self) -> set[str]:
        """Names of the checkpoints, each of which must verify."""
        folders = list(self.folder.glob("checkpoint-*"))
        for folder in folders:
            verify(folder)
        return {folder.name for folder in folders}

    def wait_for_a_checkpoint(self, process: subprocess.Popen) -> None:
        """Until the process has written one more, or ended."""
        before = set(self.folder.glob("checkpoint-*"))
        end = time.monotonic() + PATIENCE
        while (
            process.poll() is None and set(self.folder.glob("checkpoint-*")) == before
        ):
            assert time.monotonic() < end, self.log.read_text(errors="replace")
            time.sleep(0.005)

    def finish(self) -> Finished:
        status = self.start().wait(PATIENCE)
        assert status == 0, self.log.read_text(errors="replace")
        return Finished(RunReport.read(self.folder), self.folder)


def test_killed_run_ends_as_if_never_killed(
    run: Runs, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SIGKILL at any instant, inside a write too: the run that goes on is the same."""
    kills = request.config.getoption("--kills")
    steps = 20 + 10 * kills
    whole = run(**flags(run, steps) | {"save_steps": steps})
    victim = Victim(run, tmp_path / "killed", steps)
    chance = random.Random(f"{run.trainer.name} {kills}")
    for number in range(kills):
        before = victim.sound()
        if number % 2:  # inside a write: about nine operations make a checkpoint
            process = victim.start(die_at=chance.randint(1, 40))
        else:
            process = victim.start()
            victim.wait_for_a_checkpoint(process)
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
        status = process.wait(PATIENCE)
        after = victim.sound()
        print(f"{run.trainer.name} kill {number + 1}: {status}, {len(after)} sound")
        assert before <= after, f"lost: {sorted(before - after)}"
        assert status in (-signal.SIGKILL, 0), victim.log.read_text(errors="replace")
    made = victim.finish()
    for name in STATE:
        last = f"checkpoint-{steps}/{name}"
        same = (made.folder / last).read_bytes() == (whole.folder / last).read_bytes()
        assert same, f"{last} differs from the uninterrupted run's"
    rest = whole.steps[made.report.resumed_at or 0 :]
    assert made.losses == [step.loss for step in rest]
    assert made.row_ids == [step.row_ids for step in rest]
    assert list(made.folder.glob(".*")) == [], "leftovers of killed writes stay"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_and_says_how_to_go_on(
    run: Runs, tmp_path: Path, sent: signal.Signals
) -> None:
    """SIGTERM and Ctrl-C end the step, save, and exit with 128 + the signal."""
    if sent == signal.SIGINT and run.trainer.name != "accelerate":
        pytest.skip("the handler is the same for both: one trainer shows it")
    victim = Victim(run, tmp_path / "stopped", steps=100_000)
    process = victim.start()
    victim.wait_for_a_checkpoint(process)
    process.send_signal(sent)
    status = process.wait(PATIENCE)
    said = victim.log.read_text(errors="replace").splitlines()[-1]
    assert status == 128 + sent, said
    newest = max(victim.sound(), key=lambda name: int(name.partition("-")[2]))
    assert newest in said
    assert "--resume_from_checkpoint" in said
