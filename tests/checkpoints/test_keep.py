"""Checkpoints are found, rotated and never lost, whenever the process is killed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.checkpoints import equal, state_of, write_step
from reference_trainers.checkpoints.keep import (
    checkpoints,
    find_newest_sound,
    rotate,
)
from reference_trainers.checkpoints.manifest import verify_checkpoint
from reference_trainers.checkpoints.read import read_checkpoint
from reference_trainers.checkpoints.resume import Start, named
from reference_trainers.errors import InputError
from reference_trainers.files import Lock, remove_whole
from reference_trainers.folder import sweep

# Finding


def test_checkpoints_are_sorted_by_step(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        write_step(tmp_path, step)
    for name in ("checkpoint-x", "checkpoint-007", ".checkpoint-9.writing-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-5").write_text("a file")
    assert [step for step, _ in checkpoints(tmp_path)] == [3, 20, 100]
    assert checkpoints(tmp_path / "absent") == []


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write_step(tmp_path, step)
    os.truncate(tmp_path / "checkpoint-30" / "model.safetensors", 9)
    (tmp_path / "checkpoint-40").mkdir()

    found, warnings = find_newest_sound(tmp_path)

    assert found is not None
    assert found.folder == tmp_path / "checkpoint-20"
    assert [warning.split(": ")[1] for warning in warnings] == [
        "the folder is empty. It is passed over.",
        "model.safetensors is damaged",
    ]
    assert find_newest_sound(tmp_path / "absent") == (None, [])


def test_what_to_resume_from_can_be_said_in_many_ways(tmp_path: Path) -> None:
    old, new = (write_step(tmp_path, step) for step in (10, 20))
    for value in ("true", "True", "latest", "LATEST"):
        assert named(value, tmp_path) == Start(verify_checkpoint(new))
    elsewhere = tmp_path / "elsewhere"
    for value in (f"{old}", f"{old}/"):
        assert named(value, elsewhere) == Start(verify_checkpoint(old))
    for value in (f"{tmp_path}", f"{tmp_path}/"):
        assert named(value, elsewhere) == Start(verify_checkpoint(new))
    (new / "config.json").unlink()
    found = named("latest", tmp_path)
    assert found.checkpoint == verify_checkpoint(old)
    assert len(found.warnings) == 1
    with pytest.raises(InputError, match=r"checkpoint-20: config\.json is missing"):
        named(str(new), tmp_path)


def test_a_wrong_place_to_resume_from_is_one_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for value, sentence in [
        ("runs/typo", r"--resume_from_checkpoint runs/typo: runs/typo: no such folder"),
        (str(empty), "the folder is empty"),
        ("true", "--resume_from_checkpoint true: .* holds no sound checkpoint"),
    ]:
        with pytest.raises(InputError, match=sentence):
            named(value, tmp_path)
    os.truncate(write_step(tmp_path, 10) / "config.json", 0)
    for value in ("true", str(tmp_path)):
        with pytest.raises(InputError, match=r"no sound checkpoint.*config\.json is"):
            named(value, tmp_path)


# Rotating and cleaning


def test_rotation_deletes_the_oldest_but_those_to_keep(tmp_path: Path) -> None:
    folders = {step: write_step(tmp_path, step) for step in (10, 20, 30, 40, 100)}

    def left(limit: int | None, *steps: int) -> list[int]:
        rotate(tmp_path, limit, [folders[step] for step in steps])
        return [step for step, _ in checkpoints(tmp_path)]

    assert left(None) == left(5) == [10, 20, 30, 40, 100]
    assert left(3, 100, 10) == [10, 40, 100]
    assert left(1, 100, 10) == [10, 100]
    assert left(1, 100) == [100]


def test_rotation_leaves_folders_of_others_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "checkpoint-1"
    foreign.mkdir()
    (foreign / "optimizer.pt").write_bytes(b"")
    folders = [write_step(tmp_path, step) for step in (10, 20)]
    rotate(tmp_path, 1, folders[1:])
    assert foreign.exists()
    assert not folders[0].exists()


def test_only_our_own_leftovers_are_cleaned(tmp_path: Path) -> None:
    write_step(tmp_path, 10)
    ours = [".checkpoint-20.writing-1", ".results.writing-a_b7"]
    others = [
        ".results.replaced-1",
        ".checkpoint-20.writing",
        ".checkpoint-x.writing-1",
        ".cache",
        "notes",
    ]
    for name in (*ours, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    sweep(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"checkpoint-10", *others}


def test_a_checkpoint_that_was_being_replaced_goes_back(tmp_path: Path) -> None:
    folder = write_step(tmp_path, 10)
    folder.rename(tmp_path / ".checkpoint-10.replaced-5")
    sweep(tmp_path)
    assert find_newest_sound(tmp_path) == (verify_checkpoint(folder), [])


# Kills

ROOT = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"

# Writes checkpoints for ever, each twice, and says each step once it is written
WRITES = """
from pathlib import Path
from reference_trainers.checkpoints.keep import rotate
from fixtures.checkpoints import write_step
output_dir, step = Path(sys.argv[1]), int(sys.argv[2])
while True:
    step += 1
    for again in range(2):
        write_step(output_dir, step, seed=step)
        print(step, flush=True)
    rotate(output_dir, 2, ())
"""


def test_a_kill_at_any_moment_loses_no_checkpoint(tmp_path: Path) -> None:
    instants = random.Random(4)
    step = 0
    for _ in range(10):
        command = [sys.executable, "-c", START + WRITES, str(tmp_path), str(step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline()  # writing has begun
            time.sleep(instants.uniform(0, 0.1))
            process.kill()
            said = process.stdout.read().split()
        step = max([step + 1, *map(int, said)])
        sweep(tmp_path)
        newest, warnings = find_newest_sound(tmp_path)
        assert newest is not None
        assert not warnings
        assert newest.step >= step
        step = newest.step
        for number, folder in checkpoints(tmp_path):
            assert equal(read_checkpoint(folder)[0], state_of(number))
        assert {p.name for p in tmp_path.iterdir()} == {
            folder.name for _, folder in checkpoints(tmp_path)
        }


# Forks a child for each file operation, which is killed just before it
DIES_BEFORE_EACH = """
import os, signal
from pathlib import Path
from reference_trainers.checkpoints.keep import rotate
from fixtures.checkpoints import write_step

FILE_OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod")

def work(output_dir):
    write_step(output_dir, 20, seed=99)  # a step again
    write_step(output_dir, 30, seed=30)
    rotate(output_dir, 2, ())

def die_before(number):
    left = number
    def count(event, _):
        nonlocal left
        if event in FILE_OPERATIONS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

for number in range(1000):
    output_dir = Path(sys.argv[1]) / f"{number:03}"
    for step in (10, 20):
        write_step(output_dir, step, seed=step)
    child = os.fork()
    if not child:
        die_before(number)
        work(output_dir)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_kill_before_any_file_operation_loses_no_checkpoint(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START + DIES_BEFORE_EACH, str(tmp_path)]
    subprocess.run(command, check=True, timeout=120)
    runs = sorted(tmp_path.iterdir())
    assert len(runs) > 50
    seen = []
    for run in runs:
        for _, folder in checkpoints(run):
            verify_checkpoint(folder)  # even before anything is cleaned up
        sweep(run)
        newest, warnings = find_newest_sound(run)
        assert newest is not None
        assert not warnings
        states = {step: read_checkpoint(folder)[0] for step, folder in checkpoints(run)}
        redone = equal(states[20], state_of(99))
        assert redone or equal(states[20], state_of(20))
        seen.append((max(states), redone, 10 not in states))
        assert {p.name for p in run.iterdir()} == {f"checkpoint-{n}" for n in states}
    assert seen == sorted(seen)  # what is once written stays
    assert seen[0] == (20, False, False)
    assert seen[-1] == (30, True, True)


def test_an_interrupted_deletion_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_step(tmp_path, 10)
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    remove_whole(folder)
    assert checkpoints(tmp_path) == []


# The lock

HOLDS = """
import time
from pathlib import Path
from reference_trainers.files import Lock, remove_whole
from reference_trainers.folder import sweep
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    output_dir = tmp_path / "new" / "folder"
    with Lock(output_dir) as lock:
        assert not lock.warnings
        with pytest.raises(InputError, match=f"{output_dir}: another run is writing"):
            Lock(output_dir).__enter__()
        assert list(output_dir.iterdir()) == []
    with Lock(output_dir):
        pass


def test_the_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START + HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another run"):
            Lock(tmp_path).__enter__()
        process.kill()
        process.wait()
        with Lock(tmp_path):
            pass


def test_a_file_cannot_be_the_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--output_dir .*file"):
        Lock(tmp_path / "file").__enter__()
