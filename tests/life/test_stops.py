"""A signal: what is finished is saved, what is left undone is made up for."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures.numpy_backend import NumpyBackend
from reference_trainers import Batch, RunReport, TrainingStopped, read_checkpoint
from reference_trainers.life.signals import ended_at_once
from tests.life.runs import Life, in_child, untimed

EVALUATES: dict[str, Any] = {
    "max_steps": 6,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_steps": 2,
    "do_predict": True,
}


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sends signals in the midst of the n-th call of a method of the backend."""

    def sent(method: str, call: int, *numbers: signal.Signals) -> None:
        calls = iter(range(1, 1_000_000))
        real = getattr(NumpyBackend, method)

        def interrupted(self: NumpyBackend, *given: Any) -> Any:
            if next(calls) == call:
                for number in numbers:
                    os.kill(os.getpid(), number)
                    time.sleep(0)  # where Python sees the signal
            return real(self, *given)

        monkeypatch.setattr(NumpyBackend, method, interrupted)

    return sent


def stopped(life: Life, **flags: Any) -> str:
    with pytest.raises(TrainingStopped) as caught:
        life.run(**flags)
    assert caught.value.exit_status == 128 + signal.SIGTERM
    return str(caught.value)


@pytest.mark.parametrize("method", ["train_step", "evaluate", "generate"])
@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_a_stopped_run_ends_as_if_never_stopped(
    life: Life, signals: Any, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    whole = Life(life.inputs, life.folder.with_name("whole"))
    whole.run(**EVALUATES)
    with monkeypatch.context():
        signals(method, call, signal.SIGTERM)
        said = stopped(life, **EVALUATES)
    monkeypatch.undo()
    named = re.search(r"--resume_from_checkpoint (\S+)", said)
    assert named, said
    read_checkpoint(Path(named[1]))
    life.run(**EVALUATES)
    mine, theirs = untimed(life.folder), untimed(whole.folder)
    extra = {n for n in mine if n not in theirs}  # the checkpoint of the stop
    assert all(name.startswith("checkpoint-") for name in extra), extra
    assert {n: v for n, v in mine.items() if n not in extra} == theirs


def test_more_signals_change_nothing(life: Life, signals: Any) -> None:
    signals("train_step", 3, signal.SIGTERM, signal.SIGINT, signal.SIGTERM)
    assert "Stopped after 3 steps" in stopped(life)
    assert (life.folder / "checkpoint-3").is_dir()


def test_an_evaluation_under_way_is_left(life: Life, signals: Any) -> None:
    seen: list[Batch] = []
    signals("evaluate", 1, signal.SIGTERM)
    real = NumpyBackend.evaluate

    def counted(self: NumpyBackend, batch: Batch) -> Any:
        seen.append(batch)
        return real(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyBackend, "evaluate", counted)
        stopped(life, **EVALUATES, per_device_eval_batch_size=1)
    assert len(seen) == 1, "the rest of the split was evaluated first"
    assert (life.folder / "checkpoint-2").is_dir()


@pytest.mark.parametrize(
    ("method", "call", "flags"),
    [
        ("evaluate", 1, EVALUATES),
        ("generate", 2, EVALUATES),
        ("evaluate", 1, {"save_strategy": "no", "do_eval": True}),
        ("train_step", 1, {}),
    ],
    ids=["evaluation", "generation", "final evaluation", "compilation"],
)
def test_a_call_that_holds_up_a_stop_is_left(
    life: Life, method: str, call: int, flags: dict[str, Any]
) -> None:
    """A batch that is generated for minutes, or compiled: Python can't interrupt it."""
    whole = Life(life.inputs, life.folder.with_name("whole"))
    whole.run(**flags)
    calls, real = iter(range(1, 1000)), getattr(NumpyBackend, method)

    def held_up(self: NumpyBackend, *given: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(3600)  # and goes on sleeping: the handler raises nothing
        return real(self, *given)

    def run() -> None:
        patch.setattr(NumpyBackend, method, held_up)
        patch.setattr("reference_trainers.life.signals.PATIENCE", 0.1)
        life.run(**flags)

    with pytest.MonkeyPatch.context() as patch:
        assert in_child(run, lambda event, path: None) == 128 + signal.SIGTERM
    saved = [path.name for path in life.folder.glob("checkpoint-*")]
    assert len(saved) == (method != "train_step"), saved
    assert not list(life.folder.glob(".*")), "a stage is left behind"
    life.run(**flags)
    mine, theirs = untimed(life.folder), untimed(whole.folder)
    kept = {name: content for name, content in mine.items() if name in theirs}
    assert kept == theirs


def test_what_was_trained_is_saved_though_no_checkpoint_was_asked_for(
    life: Life, signals: Any
) -> None:
    signals("evaluate", 1, signal.SIGTERM)  # the final one
    flags: dict[str, Any] = {"save_strategy": "no", "do_eval": True}
    assert "checkpoint-4" in stopped(life, **flags)
    assert (life.folder / "checkpoint-4").is_dir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumpyBackend, "evaluate", lambda *_: (1.0, 1))
        report = life.run(**flags)
    assert report.resumed_at == 4
    # Nothing was trained now: the times are those of the steps there are
    seconds = sum(step.seconds for step in report.steps)
    assert report.metrics["train_runtime"] == pytest.approx(seconds, abs=1e-4)
    assert report.metrics["train_steps_per_second"] > 0


def test_a_stopped_evaluation_alone_writes_nothing(life: Life, signals: Any) -> None:
    signals("evaluate", 1, signal.SIGTERM)
    said = stopped(life, do_train=False, do_eval=True)
    assert "resume" not in said
    assert not life.folder.exists()


def test_a_signal_that_was_ignored_stays_ignored(life: Life, signals: Any) -> None:
    """`nohup` ignores SIGHUP, and a shell SIGINT of what it runs in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals("train_step", 2, signal.SIGHUP)
        assert isinstance(life.run(), RunReport)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_the_others_is_ended_at_once(number: int) -> None:
    """What waits in a framework's own code lets no handler of Python run."""
    child = os.fork()
    if child == 0:
        signal.signal(number, lambda *_: None)
        with ended_at_once():
            os.kill(os.getpid(), number)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
