"""The life of a run in several processes: one run, not several."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import GlobalBatch, InputError, TrainingStopped, Update
from tests.life.runs import Inputs, Life

ACCUMULATED = {"max_steps": 9, "gradient_accumulation_steps": 2, "save_steps": 3}
PROGRESS = re.compile(r"step \d+/\d+ ")
JUDGED = {"do_eval": True, "do_predict": True}


class Processes:
    """The processes of one run, each forked from this one."""

    def __init__(self, life: Life, size: int, **flags: Any):
        flags["per_device_train_batch_size"] = 4 // size
        self.life = life
        port = uuid.uuid4().hex  # no other run meets there
        self.said = [life.folder.with_suffix(f".said-{rank}") for rank in range(size)]
        self.children = [self._start(rank, size, port, flags) for rank in range(size)]

    def _start(self, rank: int, size: int, port: str, flags: dict[str, Any]) -> int:
        child = os.fork()
        if child:
            return child
        status = 70
        try:
            with self.said[rank].open("w") as stderr:
                os.dup2(stderr.fileno(), 2)
                sys.stderr = stderr
                given = {"RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
                os.environ |= {name: str(value) for name, value in given.items()}
                status = outcome(lambda: self.life.run(**flags))
                stderr.flush()
        finally:
            os._exit(status)

    def kill(self, rank: int, number: int = signal.SIGKILL) -> None:
        os.kill(self.children[rank], number)

    def statuses(self) -> list[int]:
        """Of each process, by rank; negative: of a signal."""
        ended = [os.waitpid(child, 0)[1] for child in self.children]
        return [os.waitstatus_to_exitcode(status) for status in ended]

    def words(self) -> list[str]:
        """What each has said on stderr, without the log."""
        return [
            "".join(
                line
                for line in path.read_text().splitlines(keepends=True)
                if not PROGRESS.match(line)
            )
            for path in self.said
        ]


def outcome(run: Callable[[], object]) -> int:
    """The exit status of a command that does it."""
    try:
        run()
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except TrainingStopped as stopped:
        return stopped.exit_status
    return 0


@pytest.fixture
def other(inputs: Inputs, tmp_path: Path) -> Life:
    """Another output folder."""
    return Life(inputs, tmp_path / "other")


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.05) -> None:
    """An update takes so long that a test can do something meanwhile."""
    right = NumpyBackend.train_step

    def slowly(self: NumpyBackend, batch: GlobalBatch, rate: float) -> Update:
        time.sleep(seconds)
        return right(self, batch, rate)

    monkeypatch.setattr(NumpyBackend, "train_step", slowly)


def assert_same_run(one: Life, other: Life) -> None:
    """Steps, losses, predictions and weights, as far as a sum's order lets them."""
    for a, b in zip(one.report().steps, other.report().steps, strict=True):
        assert (a.row_ids, a.learning_rate) == (b.row_ids, b.learning_rate)
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
    for name in ("eval_loss", "predict_loss"):
        a, b = (life.report().metrics[name] for life in (one, other))
        assert a == pytest.approx(b, rel=1e-6)
    texts = [(life.folder / "predictions.jsonl").read_text() for life in (one, other)]
    assert texts[0] == texts[1]
    assert {*one.report().files} == {*other.report().files}


@pytest.mark.parametrize("size", [2, 4])
def test_several_processes_are_one_run(life: Life, other: Life, size: int) -> None:
    flags = ACCUMULATED | JUDGED | {"eval_strategy": "epoch"}
    life.run(**flags)
    several = Processes(other, size, **flags)
    assert several.statuses() == [0] * size
    assert all(not said for said in several.words()[1:])
    assert other.report().hardware["devices"] == size
    assert_same_run(life, other)


def test_more_processes_than_rows_of_a_batch(life: Life, other: Life) -> None:
    """The last batch has two rows, and four processes take part in it."""
    flags = ACCUMULATED | JUDGED | {"max_train_samples": 18, "max_eval_samples": 2}
    life.run(**flags)
    assert Processes(other, 4, **flags).statuses() == [0] * 4
    assert_same_run(life, other)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_at_one_stops_all_at_the_same_step(
    life: Life, other: Life, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    flags = {"max_steps": 30, "save_steps": 100} | JUDGED
    life.run(**flags)
    with monkeypatch.context() as patch:
        slow(patch)
        several = Processes(other, 2, **flags)
        time.sleep(1.0)
        several.kill(rank, signal.SIGTERM)
        assert several.statuses() == [143, 143]
    (kept,) = other.folder.glob("checkpoint-*")
    assert 0 < int(kept.name.partition("-")[2]) < 30
    assert Processes(other, 2, **flags).statuses() == [0, 0]
    assert_same_run(life, other)


def test_an_error_is_said_once(life: Life) -> None:
    several = Processes(life, 2, model_name_or_path="nowhere/nothing")
    assert several.statuses() == [2, 2]
    life.folder.mkdir()
    (life.folder / "mine.txt").write_text("mine")
    again = Processes(life, 2)
    assert again.statuses() == [2, 2]
    assert "is not empty" in again.words()[0]
    assert {path.name for path in life.folder.iterdir()} == {"mine.txt"}


def test_an_error_of_one_is_an_error_of_all(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = NumpyBackend.load

    def fails(spec: Any, source: Any) -> NumpyBackend:
        if os.environ["RANK"] == "1":
            raise InputError("the second host has no such file.")
        return right(spec, source)

    monkeypatch.setattr(NumpyBackend, "load", fails)
    several = Processes(life, 2)
    assert several.statuses() == [2, 2]
    assert several.words()[0] == "the second host has no such file.\n"


def test_a_loss_that_is_not_finite_ends_all(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = NumpyBackend.loss_and_gradient

    def spoiled(self: NumpyBackend, batch: Any) -> Any:
        loss, gradient = right(self, batch)
        bad = os.environ["RANK"] == "1" and self.updates == 2
        return (np.nan if bad else loss), gradient

    monkeypatch.setattr(NumpyBackend, "loss_and_gradient", spoiled)
    several = Processes(life, 2, logging_steps=1)
    assert several.statuses() == [2, 2]
    assert "step 2: the loss is nan" in several.words()[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_is_killed_ends_the_others_and_costs_nothing(
    life: Life, other: Life, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    flags = {"max_steps": 30, "save_steps": 2, "save_total_limit": 2} | JUDGED
    life.run(**flags)
    with monkeypatch.context() as patch:
        slow(patch, 0.02)
        for size in (2, 4, 2):
            several = Processes(other, size, **flags)
            victim = draw.randrange(size)
            time.sleep(draw.uniform(0.3, 1.0))
            several.kill(victim)
            started = time.monotonic()
            statuses = several.statuses()
            assert time.monotonic() - started < 30
            assert statuses[victim] in (-9, 0)
            # Killed as the run ends, when one of the others had ended already
            assert {*statuses[:victim], *statuses[victim + 1 :]} <= {0, 1}, statuses
    assert Processes(other, 2, **flags).statuses() == [0, 0]
    assert_same_run(life, other)


def test_checkpoints_go_from_one_number_of_processes_to_another(
    life: Life, other: Life
) -> None:
    whole = ACCUMULATED | JUDGED | {"fp16": True}
    life.run(**whole)
    for size, steps in ((2, 3), (1, 6), (4, 9)):
        flags = whole | {"max_steps": 9}
        if steps < 9:  # as one that was stopped there
            assert Processes(other, size, **flags).statuses() == [0] * size
            shutil.copytree(other.folder, other.folder.with_name("kept"))
            shutil.rmtree(other.folder)
            kept = other.folder.with_name("kept")
            shutil.copytree(
                kept / f"checkpoint-{steps}", other.folder / f"checkpoint-{steps}"
            )
            shutil.rmtree(kept)
        else:
            assert Processes(other, size, **flags).statuses() == [0] * size
    assert other.report().resumed_at == 6
    assert_same_run(life, other)


def test_the_others_need_no_rows(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are on another host, where the files are not."""
    right = Life.spec

    def elsewhere(self: Life, **flags: Any) -> Any:
        files = ("train_file", "validation_file", "test_file")
        if os.environ["RANK"] != "0":
            flags |= {name: f"nowhere/{name}.csv" for name in files}
        return right(self, **flags)

    monkeypatch.setattr(Life, "spec", elsewhere)
    assert Processes(life, 2, **JUDGED).statuses() == [0, 0]
    assert life.report().splits["train"].rows > 0


def test_a_missing_file_is_said_once(life: Life) -> None:
    several = Processes(life, 2, train_file="nowhere.csv")
    assert several.statuses() == [2, 2]
    assert several.words() == ["--train_file nowhere.csv: no such file.\n", ""]
