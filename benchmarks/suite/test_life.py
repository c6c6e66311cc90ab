"""What surrounds training: the start of a process, checkpoints, and a push."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.door import Opened, Workshop
from benchmarks.first_step import DONE
from benchmarks.measure import Effort, measure_calls
from benchmarks.shapes import Shape, texts_of
from benchmarks.suite.conftest import Record, trainers
from benchmarks.suite.test_training import written
from fixtures.hub import Hub
from reference_trainers import (
    RunReport,
    find_trainer,
    load_model,
    push_folder,
    read_checkpoint,
    write_checkpoint,
)

ROOT = Path(__file__).parents[2]
# Where frameworks and trainers keep compiled programs between processes
CACHES = ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_start(
    opened: Opened,
    trainer_name: str,
    cache: str,
    workshop: Workshop,
    few: Effort,
    record: Record,
) -> None:
    """From nothing to the end of the first step, in a process of its own.

    Cold: no compiled program is kept on disk. Warm: those of a process before.
    """
    shape = opened.shape
    if cache == "warm" and opened.backend.compilations is None:
        pytest.skip("not run: it compiles nothing, so its warm start is its cold one")
    kept = workshop.top / "caches" / trainer_name / shape.name
    numbers = itertools.count()

    def start() -> int:
        folder = kept if cache == "warm" else kept / f"cold-{next(numbers)}"
        first_step(workshop, trainer_name, shape, folder)
        return shape.batch * opened.devices

    measured = measure_calls(
        start,
        (shape.lengths(False, 0),) * (shape.batch * opened.devices),
        few,
        warms_up=cache == "warm",
        tools=workshop.tools,
    )
    measured.peak_host_bytes = None  # this process only waits
    assert len(measured.warm_up) == (cache == "warm")
    record(f"start-{cache}", measured, devices=opened.devices)


def first_step(
    workshop: Workshop, trainer_name: str, shape: Shape, cache: Path
) -> None:
    """Waits until a new process has made its first step, and ends it."""
    asked = {
        "trainer": trainer_name,
        "profile": workshop.profile.name,
        "shape": shape.name,
        "batch": shape.batch,
        "model": str(workshop.model(shape)),
    }
    environment = os.environ | {name: str(cache / name.lower()) for name in CACHES}
    command = [sys.executable, "-m", "benchmarks.first_step", json.dumps(asked)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        is_done = any(line.strip() == DONE for line in process.stdout)
        process.kill()
    assert is_done, f"{trainer_name} ended before its first step"


def test_checkpoint_save(
    opened: Opened, effort: Effort, record: Record, tmp_path: Path
) -> None:
    """Parameters and moments leave the device, and stand on disk, flushed, hashed."""
    trained(opened)
    numbers = itertools.count(1)
    source, rows = opened.source, opened.shape.batch

    def save() -> int:
        folder = tmp_path / f"checkpoint-{next(numbers) % 2 + 1}"
        state = opened.backend.state()
        write_checkpoint(folder, state, {}, {}, source.save_settings)
        return rows

    measured = measure_calls(save, no_rows(rows), effort, tools=opened.tools)
    record("checkpoint-save", measured, devices=opened.devices)


def test_checkpoint_load(
    opened: Opened, effort: Effort, record: Record, tmp_path: Path
) -> None:
    """A checkpoint is verified, read, and taken over by the device."""
    trained(opened)
    folder, rows = tmp_path / "checkpoint-1", opened.shape.batch
    state = opened.backend.state()
    write_checkpoint(folder, state, {}, {}, opened.source.save_settings)

    def load() -> int:
        state, _, _ = read_checkpoint(folder)
        opened.backend.restore(state)
        return rows

    measured = measure_calls(load, no_rows(rows), effort, tools=opened.tools)
    record("checkpoint-load", measured, devices=opened.devices)


def trained(opened: Opened) -> None:
    """A step or two, so that there are moments."""
    opened.train(False, Effort(1, 0, 1), with_floors=False)


def no_rows(rows: int) -> tuple[tuple[int, int], ...]:
    """So many rows without a token: what is done is no work of the model's."""
    return ((0, 0),) * rows


def test_push(
    workshop: Workshop,
    shape: Shape,
    few: Effort,
    record: Record,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a run left goes to a local Hub, each time into a new repository."""
    source = load_model(workshop.spec(shape))
    texts = texts_of(source.tokenizer, shape, False, shape.batch)
    file, out = written(tmp_path / "train.csv", texts), tmp_path / "out"
    flags = {"train_file": str(file), "output_dir": str(out), "max_steps": 1}
    trainer = find_trainer(trainers(request.config)[0])
    trainer.run(workshop.spec(shape, **flags))
    with Hub(tmp_path / "hub") as hub:
        for name, value in hub.environment(tmp_path / "home", "hf_writes").items():
            monkeypatch.setenv(name, value)
        numbers = itertools.count()

        def push() -> int:
            report = pushed(out, f"user/run-{next(numbers)}")
            assert report.push is not None and report.push["problem"] is None
            return shape.batch

        rows = no_rows(shape.batch)
        measured = measure_calls(push, rows, few, tools=workshop.tools)
    record("push", measured)


def pushed(folder: Path, repository: str) -> RunReport:
    return push_folder(folder, hub_model_id=repository)
