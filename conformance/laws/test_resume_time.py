"""Law of finding one's place: a late step is found as fast as an early one."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

import pytest

from conformance.law import law
from conformance.profiles import CPU
from conformance.runs import Runs
from reference_trainers import read_checkpoint, write_checkpoint

EARLY, LATE = 20, 100_000
PAIRS = 7
# The claim is 1.1 on a quiet machine; a trainer that walks to its place is far above
ALLOWED = 1.5


@pytest.fixture
def places(run: Runs, tmp_path: Path) -> dict[int, Path]:
    """A checkpoint of step 20, and one like it that says it is of step 100,000."""
    made = run(max_steps=EARLY, save_strategy="steps", save_steps=EARLY)
    early = made.folder / f"checkpoint-{EARLY}"
    state, trainer_state, manifest = read_checkpoint(early)
    late = tmp_path / f"checkpoint-{LATE}"

    def settings(folder: Path) -> None:
        for name in ("config.json", "generation_config.json"):
            shutil.copy(early / name, folder)

    trainer_state["global_step"] = LATE
    write_checkpoint(late, state, trainer_state, manifest.identity, settings)
    return {EARLY: early, LATE: late}


def seconds(run: Runs, source: Path, step: int, folder: Path) -> float:
    """From the start of a resumed run to the end of its one step."""
    started = time.perf_counter()
    made = run.into(
        folder,
        resume_from_checkpoint=str(source),
        max_steps=step + 1,
        overwrite_output_dir=True,
    )
    assert [record.step for record in made.steps] == [step]
    return time.perf_counter() - started


@law("resume.time", profiles=CPU)
@pytest.mark.slow
def test_the_first_step_comes_as_soon_at_step_100000(
    run: Runs, places: dict[int, Path], tmp_path: Path
) -> None:
    """Resuming at step 100,000 takes as long as at step 20: nothing is walked."""
    times: dict[int, list[float]] = {EARLY: [], LATE: []}
    for _ in range(PAIRS + 1):
        for step, source in places.items():
            times[step].append(seconds(run, source, step, tmp_path / f"out{step}"))
    early, late = (statistics.median(times[step][1:]) for step in (EARLY, LATE))
    print(f"{run.subject.text}: step {LATE} / step {EARLY}: {late / early:.2f}")
    assert late / early <= ALLOWED, f"{late:.2f} s, and {early:.2f} s at step {EARLY}"
