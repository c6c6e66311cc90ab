"""Laws of several devices, in one process or in several: one run, the same numbers.

    pytest conformance --law devices.kills --kills 20 --timeout 3000 -s

kills one of two processes 20 times for each trainer, at random moments.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from filecmp import cmp
from pathlib import Path
from typing import Any

import pytest

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.laws.resuming import assert_same_state, flags, untimed
from conformance.processes import running
from conformance.profiles import DEVICES, FOUR, PROCESSES, TWO
from conformance.runs import BATCH, Finished, MakeRuns, Runs
from conformance.tolerances import RECUT, SHORT, allowed
from conformance.traces.recipes import RECIPE
from conformance.workers import command_of, environment_of
from reference_trainers import (
    ORACLE,
    files_in,
    flags_of_dict,
    verify_checkpoint,
)

# The last batch of an epoch has three rows, fewer than some profiles have devices
FLAGS: dict[str, Any] = {
    **RECIPE,
    BATCH: 8,
    "gradient_accumulation_steps": 2,
    "max_train_samples": 35,
    "max_grad_norm": 0.5,
    "max_steps": 20,
}
JUDGED: dict[str, Any] = {
    "do_eval": True,
    "do_predict": True,
    "predict_with_generate": True,
    "num_beams": 2,
    "per_device_eval_batch_size": 2,
    "max_eval_samples": 11,
    "max_predict_samples": 3,
}
SAVED: dict[str, Any] = {"save_strategy": "steps", "save_steps": 5}
START = 300.0  # seconds until the processes of a run train
END = 60.0  # seconds until all of them have noticed that one is gone


@pytest.fixture
def on_one(run: Runs, runs_of: MakeRuns) -> Runs:
    """Runs of the same trainer on one device."""
    return runs_of(run.subject.text)


def assert_same_training(run: Runs, made: Finished, expected: Finished) -> None:
    assert made.report.hardware["devices"] == run.profile.devices
    precision = run.profile.precision
    assert_same_steps(made.steps[:1], expected.steps[:1], RECUT, precision)
    # A float64 sum in another order is not seen after twenty steps either
    over_all = RECUT if precision == "float64" else SHORT
    assert_same_steps(made.steps, expected.steps, over_all, precision)


@law("devices.steps", profiles=DEVICES, always=("cpu-p2",))
def test_several_devices_train_as_one_does(run: Runs, on_one: Runs) -> None:
    """On several devices the steps are those of one: rows, losses and norms."""
    made, expected = (runs(**FLAGS, **JUDGED, **SAVED) for runs in (run, on_one))
    assert any(step.grad_norm > FLAGS["max_grad_norm"] for step in expected.steps)
    assert_same_training(run, made, expected)


@law("devices.dropout", profiles=DEVICES)
def test_dropout_follows_the_row(run: Runs, on_one: Runs) -> None:
    """On several devices a row has the masks that it has on one."""
    flags = FLAGS | {"model_name_or_path": str(run.inputs.dropout_model)}
    assert_same_training(run, run(**flags), on_one(**flags))


@law("devices.evaluation", profiles=DEVICES, always=("cpu-p2",))
def test_several_devices_judge_as_one_does(run: Runs, on_one: Runs) -> None:
    """Rows that devices share out are judged once each, and in their order."""
    made, expected = (runs(**FLAGS, **JUDGED, **SAVED) for runs in (run, on_one))
    tolerance = allowed(SHORT, run.profile.precision)["eval_loss"]
    for name in ("eval_loss", "predict_loss"):
        a, b = (found.report.metrics[name] for found in (made, expected))
        assert tolerance.allows(a, b), f"{name} {a}, on one device {b} ({tolerance})"
    for name in ("eval_samples", "eval_gen_len", "eval_rouge1"):
        assert made.report.metrics[name] == expected.report.metrics[name], name
    texts = [
        (found.folder / "predictions.jsonl").read_text() for found in (made, expected)
    ]
    assert texts[0] == texts[1]


@law("devices.files", profiles=DEVICES, always=("cpu-p2",))
def test_several_devices_leave_the_files_of_one(run: Runs, on_one: Runs) -> None:
    """One process writes: the files are those of a run on one device."""
    made, expected = (runs(**FLAGS, **JUDGED, **SAVED) for runs in (run, on_one))
    assert {*files_in(made.folder)} == {*files_in(expected.folder)}


@law("devices.resume", profiles=DEVICES)
@pytest.mark.parametrize("first", ["several", "one"])
def test_a_run_goes_on_with_other_devices(
    run: Runs, on_one: Runs, tmp_path: Path, first: str
) -> None:
    """A run that is resumed on another number of devices is the same run."""
    before, after = (run, on_one) if first == "several" else (on_one, run)
    whole = before(**FLAGS, **JUDGED, **SAVED)
    source = str(whole.folder / "checkpoint-10")
    made = after.into(tmp_path / "after", **FLAGS, resume_from_checkpoint=source)
    assert made.report.resumed_at == 10
    assert_same_steps(made.steps, whole.steps, SHORT, run.profile.precision)


@law("devices.repeat", profiles=FOUR, is_long=True)
def test_four_devices_add_in_one_order(run: Runs) -> None:
    """The same run twice on four devices is the same bits, losses and weights."""
    one, other = (run(again=again, **FLAGS) for again in (0, 1))
    assert untimed(one.steps) == untimed(other.steps)
    weights = [found.folder / "model.safetensors" for found in (one, other)]
    assert cmp(weights[0], weights[1], shallow=False)


@law("devices.sharded", profiles=DEVICES, always=("cpu-p2",))
def test_a_model_in_parts_trains_as_a_whole_one(run: Runs, tmp_path: Path) -> None:
    """`--fsdp full_shard` changes where parameters lie, and no file and no number."""
    refused = run.subject.refuses.get("fsdp")
    if refused:
        pytest.skip(f"not run: {run.subject.text} refuses it: {refused}")
    parted = run(**FLAGS, **JUDGED, **SAVED, fsdp="full_shard")
    whole = run(**FLAGS, **JUDGED, **SAVED)
    assert_same_steps(parted.steps, whole.steps, SHORT, run.profile.precision)
    assert {*files_in(parted.folder)} == {*files_in(whole.folder)}
    # The end of one, taken over by the other: the same bytes
    last = whole.folder / "checkpoint-20"
    flags = FLAGS | {"fsdp": "full_shard", "resume_from_checkpoint": str(last)}
    made = run.into(tmp_path / "after", **flags)
    name = "model.safetensors"
    assert cmp(made.folder / name, last / name, shallow=False)


@law("devices.counts", profiles=TWO, is_long=True)
def test_a_run_goes_from_two_devices_to_one_to_four(
    run: Runs, on_one: Runs, runs_of: MakeRuns, tmp_path: Path
) -> None:
    """A run that begins on two devices, resumes on one and ends on four is one run."""
    on_four = runs_of(run.subject.text, run.profile.name.replace("2", "4"))
    expected = on_one(**FLAGS, **JUDGED, **SAVED)
    begun = run(**FLAGS, **JUDGED, **SAVED)
    again = {**FLAGS, **SAVED}
    source = str(begun.folder / "checkpoint-5")
    middle = on_one.into(tmp_path / "1", **again, resume_from_checkpoint=source)
    source = str(middle.folder / "checkpoint-10")
    made = on_four.into(tmp_path / "4", **again, resume_from_checkpoint=source)
    assert (middle.report.resumed_at, made.report.resumed_at) == (5, 10)
    found = [each.report.hardware["devices"] for each in (begun, middle, made)]
    assert found == [2, 1, 4]
    assert_same_steps(made.steps, expected.steps, SHORT, run.profile.precision)


@law("devices.handover", profiles=DEVICES, is_long=True)
def test_the_oracle_goes_on_with_a_run_of_several_devices(
    run: Runs, runs_of: MakeRuns, tmp_path: Path
) -> None:
    """A run that begins on several devices is resumed by the oracle on one."""
    whole = run(**FLAGS, **JUDGED, **SAVED)
    source = str(whole.folder / "checkpoint-10")
    oracle = runs_of(ORACLE)
    made = oracle.into(tmp_path / "after", **FLAGS, resume_from_checkpoint=source)
    assert made.report.resumed_at == 10
    assert_same_steps(made.steps, whole.steps, SHORT, run.profile.precision)


@law("devices.kills", profiles=PROCESSES, is_long=True)
def test_a_process_that_is_killed_costs_nothing(
    run: Runs, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A killed process ends the others soon; the run that is resumed is the same."""
    kills = max(2, request.config.getoption("--kills"))
    killed = {**flags(run), "max_steps": 20 * (kills + 1), "save_total_limit": 3}
    folder, name = tmp_path / "killed", run.subject.text
    chance = random.Random(f"{name} {kills}")
    saved = 0
    for number in range(kills):
        victim = chance.randrange(run.profile.processes)
        delay = chance.uniform(0, 0.5)
        statuses, seconds = kill_one(run, folder, killed, victim, delay)
        before, saved = saved, newest(folder)
        print(
            f"{name} kill {number + 1}: of process {victim} at step {saved}, "
            f"statuses {statuses}, {seconds:.1f} s later"
        )
        assert before < saved < killed["max_steps"]
        for checkpoint in folder.glob("checkpoint-*"):
            verify_checkpoint(checkpoint)
    made, whole = run.into(folder, **killed), run(**killed)
    assert made.report.resumed_at == saved
    assert_same_state(made, whole, killed["max_steps"])
    assert untimed(made.steps) == untimed(whole.steps)
    assert list(folder.glob(".*")) == [], "leftovers of killed writes stay"


def kill_one(
    run: Runs, folder: Path, killed: dict[str, Any], victim: int, delay: float
) -> tuple[list[int], float]:
    """Kills a process some time after the next checkpoint.

    The status of each, and the seconds until the last of them had ended.
    """
    spec = run.spec(**killed, output_dir=str(folder))
    arguments, log = flags_of_dict(spec.as_dict()), folder.with_suffix(".log")
    command = command_of(
        run.profile.alone, "--", "--trainer", run.subject.text, *arguments
    )
    before = newest(folder)
    with running(
        run.profile.processes, command, environment_of(run.profile), log
    ) as processes:

        def wait_until(what: Callable[[], bool], patience: float, told: str) -> None:
            end = time.monotonic() + patience
            while not what():
                assert time.monotonic() < end, f"{told}: {log.read_text()}"
                time.sleep(0.005)

        def all_ended() -> bool:
            return all(process.poll() is not None for process in processes)

        def trains() -> bool:
            assert not all_ended(), log.read_text()
            return newest(folder) > before

        wait_until(trains, START, f"no checkpoint after {START:.0f} s")
        time.sleep(delay)
        processes[victim].kill()
        begun = time.monotonic()
        wait_until(all_ended, END, f"a process lives on for {END:.0f} s")
        statuses = [process.wait() for process in processes]
    assert statuses[victim] == -signal.SIGKILL, "it has ended before it was killed"
    assert all(statuses), f"ends well beside one that was killed: {statuses}"
    return statuses, time.monotonic() - begun


def newest(folder: Path) -> int:
    """The step of the newest checkpoint; 0: there is none."""
    names = [path.name for path in folder.glob("checkpoint-*")]
    return max((int(name.partition("-")[2]) for name in names), default=0)
