"""Laws of resuming in one trainer: a resumed run is the run that was never stopped.

And a late step is found as fast as an early one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from filecmp import cmp
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from conformance.law import law
from conformance.laws.properties import SHAPES, for_all
from conformance.laws.resuming import (
    STEPS,
    WEIGHTS,
    again,
    assert_resumed,
    flags,
)
from conformance.profiles import ALL, CPU, EXACT
from conformance.runs import Finished, Runs, snapshot
from reference_trainers import read_checkpoint, write_checkpoint

POINTS = {"first step": 1, "mid-epoch": 3, "last of an epoch": 4, "whole epoch": 5}


@law("resume.bit-exact", profiles=EXACT)
@pytest.mark.parametrize("step", POINTS.values(), ids=POINTS)
def test_resumed_run_is_the_uninterrupted_run(
    run: Runs, whole: Finished, step: int
) -> None:
    """k steps, a resume and the rest are bit for bit the run without a stop."""
    source = f"{whole.folder}/checkpoint-{step}/"  # a trailing slash is fine
    made = run(**flags(run) | {"save_steps": STEPS}, resume_from_checkpoint=source)
    assert_resumed(made, whole, step)


@law("resume.any-step", profiles=EXACT)
@for_all(
    **SHAPES,
    steps=st.just(4) | st.integers(2, 6),
    done=st.just(3) | st.integers(1, 5),
)
def test_any_run_is_resumed_at_any_step(
    run: Runs, rows: int, size: int, accumulation: int, steps: int, done: int
) -> None:
    """Of any rows and batch, a resume at any step is bit for bit the run without."""
    changed: dict[str, Any] = flags(run) | {
        "max_train_samples": rows,
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "max_steps": steps,
    }
    whole = run(**changed)
    step = min(done, steps - 1)
    source = str(whole.folder / f"checkpoint-{step}")
    made = run(**changed | {"save_steps": steps}, resume_from_checkpoint=source)
    assert_resumed(made, whole, step)


@law("resume.by-itself", profiles=EXACT)
@pytest.mark.parametrize("value", [None, "latest"])
def test_an_output_folder_is_resumed_by_itself(
    run: Runs, whole: Finished, stopped: Path, value: str | None
) -> None:
    """A folder with checkpoints is resumed by itself, from the newest sound one."""
    made = again(run, stopped, resume_from_checkpoint=value, save_steps=STEPS)
    assert_resumed(made, whole, 3)


@law("resume.finished", profiles=EXACT)
def test_a_finished_run_has_nothing_to_do(
    run: Runs, stopped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same command on a finished run trains nothing and changes nothing."""
    again(run, stopped, save_steps=STEPS)
    before = snapshot(stopped)
    again(run, stopped)
    assert snapshot(stopped) == before
    assert "nothing is left to train" in capfd.readouterr().err


@law("resume.overwrite", profiles=EXACT)
def test_overwrite_starts_anew(run: Runs, whole: Finished, stopped: Path) -> None:
    """`overwrite_output_dir` trains from step 0 and leaves nothing of the old run."""
    made = again(run, stopped, overwrite_output_dir=True, save_steps=5)
    assert made.report.resumed_at is None
    assert made.losses == whole.losses
    kept = {path.name for path in stopped.glob("checkpoint-*")}
    assert kept == {"checkpoint-5", f"checkpoint-{STEPS}"}


@law("resume.overwrite-named", profiles=EXACT)
def test_overwrite_resumes_from_a_named_checkpoint(
    run: Runs, whole: Finished, stopped: Path
) -> None:
    """With both flags the named checkpoint is resumed, and the rest replaced."""
    shutil.copytree(whole.folder, stopped, dirs_exist_ok=True)  # finished, in truth
    made = again(
        run,
        stopped,
        overwrite_output_dir=True,
        resume_from_checkpoint=str(stopped / "checkpoint-2"),
        save_steps=STEPS,
    )
    assert_resumed(made, whole, 2)
    kept = {path.name for path in stopped.glob("checkpoint-*")}
    assert kept == {"checkpoint-2", f"checkpoint-{STEPS}"}


CHANGES = {
    "seed": ({"seed": 7}, "seed was 42 and is 7"),
    "global batch": (
        {"gradient_accumulation_steps": 1},
        "global_batch was 4 and is 2",
    ),
    "data": ({"max_train_samples": 17}, "data_digest was"),
}


@law("resume.may-not-change", profiles=ALL)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_may_not_change_is_refused(
    run: Runs, stopped: Path, tmp_path: Path, change: tuple[dict[str, Any], str]
) -> None:
    """Another seed, global batch or data is refused, with both values."""
    changed, sentence = change
    said = run.refused(tmp_path, **flags(run) | {"output_dir": str(stopped)} | changed)
    assert sentence in said


@law("resume.may-change", profiles=ALL)
def test_what_may_change_does(run: Runs, whole: Finished, stopped: Path) -> None:
    """Logging, save cadence, micro-batches and the number of steps may change."""
    made = again(
        run,
        stopped,
        logging_steps=1,
        save_steps=100,
        max_steps=STEPS + 2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    assert made.report.resumed_at == 3
    assert len(made.steps) == STEPS + 2
    assert made.row_ids[:STEPS] == whole.row_ids


@law("resume.limit", profiles=ALL)
def test_save_total_limit_keeps_the_newest(run: Runs) -> None:
    """Of more checkpoints than the limit, the oldest go."""
    made = run(**flags(run) | {"save_total_limit": 2, "max_steps": 5})
    kept = {path.name for path in made.folder.glob("checkpoint-*")}
    assert kept == {"checkpoint-4", "checkpoint-5"}


JUDGED: dict[str, Any] = {
    "learning_rate": 1e-2,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "load_best_model_at_end": True,
}


@law("resume.best", profiles=ALL)
def test_the_best_checkpoint_is_loaded_at_the_end(run: Runs) -> None:
    """The final model is that of the best evaluation, which no limit deletes."""
    made = run(
        max_steps=6,
        **JUDGED,
        save_total_limit=1,
        greater_is_better=True,  # so that the first evaluation is the best
    )
    losses = {e["step"]: e["eval_loss"] for e in made.report.evaluations}
    best = max(losses, key=lambda step: losses[step])
    assert best != 6, "the newest is the best: this run shows nothing"
    state = json.loads((made.folder / "trainer_state.json").read_text())
    assert state["best_global_step"] == best
    saved = made.folder / f"checkpoint-{best}" / WEIGHTS
    assert cmp(made.folder / WEIGHTS, saved, shallow=False)


@law("resume.best-metric", profiles=ALL)
def test_the_best_is_judged_as_asked(run: Runs) -> None:
    """Which evaluation is the best goes by the metric that is asked for."""
    made = run(
        max_steps=4,
        **JUDGED,
        predict_with_generate=True,
        metric_for_best_model="rouge1",
        greater_is_better=False,
    )
    scores = {e["step"]: e["eval_rouge1"] for e in made.report.evaluations}
    state = made.json("trainer_state.json")
    assert state["best_metric"] == min(scores.values())
    assert scores[state["best_global_step"]] == min(scores.values())


@law("resume.own-files", profiles=ALL)
def test_only_what_the_trainers_wrote_is_removed(run: Runs, stopped: Path) -> None:
    """Folders of a user's own stay, even if they are named like a checkpoint."""
    for name in ("checkpoint-100", "checkpoint-final"):
        (stopped / name).mkdir()
        (stopped / name / "mine").write_text("keep")
    again(run, stopped, save_steps=STEPS, overwrite_output_dir=True)
    assert (stopped / "checkpoint-100" / "mine").read_text() == "keep"
    assert (stopped / "checkpoint-final" / "mine").read_text() == "keep"
    assert not (stopped / "checkpoint-2").exists()


# Finding one's place

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
    took = time.perf_counter() - started
    assert (made.report.resumed_at, made.steps[-1].step) == (step, step)
    return took


@law("resume.time", profiles=CPU, is_long=True)
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
