"""Laws of half precision: it is real, it is close, and fp16 survives its overflows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from filecmp import cmp
from pathlib import Path
from typing import Any

import pytest

from conformance.law import law
from conformance.laws.resuming import MOMENTS, WEIGHTS, flags
from conformance.profiles import FP16, HALF
from conformance.runs import MakeRuns, Runs
from reference_trainers import LossScale, read_checkpoint, write_checkpoint

TOO_LARGE = 2.0**80  # any gradient overflows
A_LITTLE = 2.0**30  # some halvings too large
AT = 2  # the step of the checkpoint that is given another scale


@pytest.fixture
def short(run: Runs) -> dict[str, Any]:
    """Flags of a run of four steps that saves each."""
    return flags(run) | {"max_steps": AT + 2, "warmup_steps": AT + 2}


def planted(
    run: Runs, short: dict[str, Any], folder: Path, scale: float, good_steps: int
) -> Path:
    """An output folder with the run's checkpoint of step 2, but for its loss scale."""
    source = run(**short).folder / f"checkpoint-{AT}"
    state, trainer_state, manifest = read_checkpoint(source)
    written = {WEIGHTS, MOMENTS, "trainer_state.json"}

    def settings(into: Path) -> None:
        for name in manifest.files.keys() - written:
            shutil.copy(source / name, into)

    state = replace(state, loss_scale=LossScale(scale, good_steps))
    target = folder / source.name
    write_checkpoint(target, state, trainer_state, manifest.identity, settings)
    return folder


def loss_scale(folder: Path, step: int) -> tuple[float, int]:
    """Of a checkpoint: the scale, and the good steps since it changed."""
    scale = read_checkpoint(folder / f"checkpoint-{step}")[2].loss_scale
    assert scale is not None, f"checkpoint-{step} has no loss scale"
    return scale.scale, scale.good_steps


@law("precision.real", profiles=HALF, always=("cpu-fp16",))
def test_half_precision_is_real(run: Runs, runs_of: MakeRuns) -> None:
    """The first loss is not that of float32: products are computed in half."""
    half, whole = (
        made(max_steps=1) for made in (run, runs_of(run.subject.text, "cpu"))
    )
    assert half.losses != whole.losses, "half precision is accepted and ignored"


@law("precision.close", profiles=HALF, always=("cpu-fp16",))
def test_half_precision_learns_as_float32_does(run: Runs, runs_of: MakeRuns) -> None:
    """After fifty steps the loss is within 2 % of float32's."""
    asked: dict[str, Any] = {"max_steps": 50, "learning_rate": 5e-3}
    half, whole = (made(**asked) for made in (run, runs_of(run.subject.text, "cpu")))
    assert whole.losses[-1] < 0.9 * whole.losses[0], "nothing is learnt: no proof"
    assert half.losses[-1] == pytest.approx(whole.losses[-1], rel=0.02)


@law("precision.overflow", profiles=FP16)
def test_an_overflow_changes_nothing(
    run: Runs, short: dict[str, Any], tmp_path: Path
) -> None:
    """An overflow leaves weights, moments and rate alone, and halves the scale."""
    folder = planted(run, short, tmp_path, TOO_LARGE, good_steps=7)
    made = run.into(folder, **short)
    assert [step.applied for step in made.steps] == [True, True, False, False]
    rates = [step.learning_rate for step in made.steps]
    assert rates[AT] == rates[AT + 1] == run(**short).steps[AT].learning_rate
    before = read_checkpoint(folder / f"checkpoint-{AT}")[0]
    for step, scale in ((AT + 1, TOO_LARGE / 2), (AT + 2, TOO_LARGE / 4)):
        assert loss_scale(folder, step) == (scale, 0)
        after = read_checkpoint(folder / f"checkpoint-{step}")[0]
        assert after.updates == before.updates == AT
        for name in (WEIGHTS, MOMENTS):
            one, other = (folder / f"checkpoint-{n}" / name for n in (AT, step))
            assert cmp(one, other, shallow=False), f"{name} of step {step}"


@law("precision.recovery", profiles=FP16)
def test_the_scale_comes_down_and_the_run_goes_on(
    run: Runs, short: dict[str, Any], tmp_path: Path
) -> None:
    """The scale halves until it fits; the rate follows the updates, not the steps."""
    more = short | {"max_steps": 30, "warmup_steps": 30, "save_steps": 10}
    folder = planted(run, short, tmp_path, A_LITTLE, good_steps=0)
    made = run.into(folder, **more)
    new = [step.applied for step in made.steps[AT:]]
    assert not any(new[:3]), "the scale was not too large: no proof"
    assert new.count(True) > 10, "it does not go on"
    good, rates = 0, []
    for step in made.steps[AT:]:
        rates.append(run.spec(**more).learning_rate * (AT + good) / 30)
        good += step.applied
    assert [step.learning_rate for step in made.steps[AT:]] == pytest.approx(rates)
    since = new[::-1].index(False) if False in new else len(new)
    assert loss_scale(folder, 30) == (A_LITTLE / 2 ** new.count(False), since)


@law("precision.growth", profiles=FP16)
def test_the_scale_doubles_after_2000_good_steps(
    run: Runs, short: dict[str, Any], tmp_path: Path
) -> None:
    """After 2000 steps without an overflow the scale doubles, resumed or not."""
    folder = planted(run, short, tmp_path, 2.0**10, good_steps=1998)
    run.into(folder, **short)
    assert loss_scale(folder, AT + 1) == (2.0**10, 1999)
    assert loss_scale(folder, AT + 2) == (2.0**11, 0)
