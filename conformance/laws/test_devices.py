"""Laws of several devices, in one process or in several: one run, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.differences import assert_same_steps
from conformance.law import law
from conformance.profiles import DEVICES, ONE_PROCESS
from conformance.runs import BATCH, Finished, MakeRuns, Runs
from conformance.tolerances import RECUT, SHORT, allowed
from conformance.trace import RECIPE
from reference_trainers import files_in, refusals_of

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


@pytest.fixture
def on_one(run: Runs, runs_of: MakeRuns) -> Runs:
    """Runs of the same trainer on one device."""
    return runs_of(run.subject.text)


def assert_same_training(run: Runs, made: Finished, expected: Finished) -> None:
    assert made.report.hardware["devices"] == run.profile.devices
    precision = run.profile.precision
    assert_same_steps(made.steps[:1], expected.steps[:1], RECUT, precision)
    assert_same_steps(made.steps, expected.steps, SHORT, precision)


@law("devices.steps", profiles=DEVICES, always=("cpu-p2",))
def test_several_devices_train_as_one_does(run: Runs, on_one: Runs) -> None:
    """On several devices the steps are those of one: rows, losses and norms."""
    made, expected = (runs(**FLAGS, **JUDGED, **SAVED) for runs in (run, on_one))
    assert any(step.grad_norm > FLAGS["max_grad_norm"] for step in expected.steps)
    assert_same_training(run, made, expected)


@law("devices.dropout", profiles=ONE_PROCESS)
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


@law("devices.sharded", profiles=DEVICES, always=("cpu-p2",))
def test_a_model_in_parts_trains_as_a_whole_one(run: Runs, tmp_path: Path) -> None:
    """`--fsdp full_shard` changes where parameters lie, and no file and no number."""
    refused = refusals_of(run.subject.trainer).get("fsdp")
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
    assert (made.folder / name).read_bytes() == (last / name).read_bytes()
