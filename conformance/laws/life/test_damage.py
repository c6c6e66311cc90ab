"""Laws of damaged checkpoints, full disks and planted pickles."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.law import law
from conformance.laws.resuming import STEPS, again, assert_resumed, flags
from conformance.profiles import ALL, EXACT
from conformance.runs import Finished, Runs


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def flipped(folder: Path) -> None:
    path = folder / "optimizer.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def missing(folder: Path) -> None:
    (folder / "trainer_state.json").unlink()


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def foreign(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def of_another_version(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 999}))


DAMAGES: dict[Callable[[Path], None], str] = {
    truncated: "model.safetensors",
    flipped: "optimizer.safetensors",
    missing: "trainer_state.json",
    emptied: "manifest.json|empty",
    foreign: "manifest.json",
    of_another_version: "version 999",
}


def name_of(damage: Callable[[Path], None]) -> str:
    return damage.__name__


@law("damage.passed-over", profiles=EXACT)
def test_damaged_checkpoints_are_named_and_passed_over(
    run: Runs, whole: Finished, stopped: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The newest sound checkpoint is resumed, and each damage on the way is named."""
    for step, damage in enumerate(DAMAGES, 3):
        folder = stopped / f"checkpoint-{step}"
        shutil.copytree(whole.folder / folder.name, folder, dirs_exist_ok=True)
        damage(folder)
    made = again(run, stopped, save_steps=STEPS)
    assert_resumed(made, whole, 2)
    said = capfd.readouterr().err
    for step, damage in enumerate(DAMAGES, 3):
        named = [w for w in made.report.warnings if f"checkpoint-{step}:" in w]
        assert len(named) == 1, f"{damage.__name__}: {made.report.warnings}"
        assert any(part in named[0] for part in DAMAGES[damage].split("|"))
        assert named[0] in said


@law("damage.named", profiles=ALL)
@pytest.mark.parametrize("damage", DAMAGES, ids=name_of)
def test_a_damaged_checkpoint_that_was_named_is_refused(
    run: Runs, stopped: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A checkpoint asked for by name is never replaced by another one in silence."""
    damage(stopped / "checkpoint-3")
    named = {"resume_from_checkpoint": str(stopped / "checkpoint-3")}
    said = run.refused(tmp_path, **flags(run) | named)
    assert re.search(f"checkpoint-3.*({DAMAGES[damage]})", said), said


@law("damage.none-sound", profiles=ALL)
def test_only_damaged_checkpoints_are_an_error(
    run: Runs, stopped: Path, tmp_path: Path
) -> None:
    """Where no checkpoint is sound nothing is trained, and each is named."""
    truncated(stopped / "checkpoint-3")
    flipped(stopped / "checkpoint-2")
    said = run.refused(tmp_path, **flags(run) | {"output_dir": str(stopped)})
    assert re.search("checkpoint-3.*checkpoint-2", said), said


@law("damage.another-model", profiles=ALL)
def test_a_checkpoint_of_another_model_is_refused(
    run: Runs, stopped: Path, tmp_path: Path
) -> None:
    """Weights of another shape are refused, with the first parameter that differs."""
    from fixtures.models import tiny_t5

    other = tiny_t5(tmp_path / "other", d_ff=32, dropout_rate=0.1)
    changed = {"output_dir": str(stopped), "model_name_or_path": str(other)}
    said = run.refused(tmp_path, **flags(run) | changed)
    assert re.search("another model: .*wi", said), said


class _Malicious:
    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)


@law("damage.pickle", profiles=EXACT)
def test_a_planted_pickle_is_not_read(
    run: Runs, whole: Finished, stopped: Path, tmp_path: Path
) -> None:
    """Pickles beside a checkpoint's files are never opened, nor change a number."""
    marker = tmp_path / "was-read"
    planted = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin")
    for name in (*planted, "pytorch_model.bin", "scaler.pt"):
        with open(stopped / "checkpoint-3" / name, "wb") as file:
            pickle.dump(_Malicious(marker), file)
    made = again(run, stopped, save_steps=STEPS)
    assert_resumed(made, whole, 3)
    assert not marker.exists()


@pytest.fixture
def small_disk(tmp_path: Path, whole: Finished) -> Iterator[Path]:
    """A file system with room for one checkpoint and the final model."""
    files = (whole.folder / f"checkpoint-{STEPS}").iterdir()
    checkpoint = sum(path.stat().st_size for path in files)
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={int(checkpoint * 1.7)}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("not run: no right to mount a small file system")
    yield disk
    # Lazily: a trainer that crashed may still hold a file there
    subprocess.run(["umount", "--lazy", disk], check=True)


@law("damage.full-disk", profiles=EXACT)
def test_a_full_disk_ends_no_training(
    run: Runs, whole: Finished, small_disk: Path
) -> None:
    """A failed save warns; training ends well and the old checkpoint still resumes."""
    made = again(run, small_disk / "output", save_steps=4)
    assert made.losses == whole.losses
    assert any("No space left" in warning for warning in made.report.warnings)
    kept = {path.name for path in made.folder.glob("checkpoint-*")}
    assert kept == {"checkpoint-4"}
    for path in made.folder.iterdir():  # as a kill before the end would leave it
        if path.name not in kept:
            path.unlink()
    resumed = again(run, made.folder, save_strategy="no", save_steps=500)
    assert resumed.report.resumed_at == 4
    assert resumed.losses == whole.losses
