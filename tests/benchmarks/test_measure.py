"""Rounds under a fake clock: what is counted, what is left out, and what is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.figures import ModelShape, training_flops
from benchmarks.measure import Effort, Tools, Watch, measure_calls
from benchmarks.record import Played, Setting, record_of
from benchmarks.shapes import SHAPES, MadeUpRows
from reference_trainers import Padding, Plan, TrainingStopped, Update, World, fit

STEP, COMPILING, FLOOR, WATTS, PEAK = 0.1, 5.0, 0.2, 30.0, 1e9
TINY = SHAPES["tiny"]
MODEL = ModelShape(32, 8, 64, 4, 2, 2, 500)
SETTING = Setting("step", "fake", "cpu", TINY, "ragged", "float32")


class FakeMachine:
    """A clock that goes on when something is done, and a meter that turns with it."""

    def __init__(self, **tools: Any) -> None:
        self.now = 1000.0
        self.tools = Tools(self.clock, self.clock, lambda: WATTS * self.now, **tools)

    def clock(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


class FakeProgram:
    """Compiles each shape of a batch that it has not met, and runs the others."""

    def __init__(self, machine: FakeMachine, seconds: float):
        self.machine = machine
        self.seconds = seconds
        self.met: set[Any] = set()

    @property
    def compilations(self) -> int:
        return len(self.met)

    def __call__(self, batch: Any) -> float:
        arrays = batch.micro_batches[0].arrays
        shape = arrays.input_ids.shape, arrays.labels.shape
        self.machine.spend(self.seconds + (shape not in self.met) * COMPILING)
        self.met.add(shape)
        return 1.0


class FakeBackend(FakeProgram):
    """Its loop is the shared one."""

    world = World()
    fit = None

    def train_step(self, batch: Any, learning_rate: float) -> Update:
        return Update(self(batch), 1.0)


def watched(
    ragged: bool = True, rounds: int = 12, **tools: Any
) -> tuple[Watch, FakeProgram]:
    machine = FakeMachine(**tools)
    backend: Any = FakeBackend(machine, STEP)
    floor = FakeProgram(machine, FLOOR)
    effort = Effort(rounds, 1e9)
    watch = Watch(backend, effort, lambda: {"compiled": floor}, machine.tools)
    rows = MadeUpRows(TINY, ragged, 400, 300)
    padding = Padding(0, 0, multiple_of=16, uniform=True)
    plan = Plan(
        rows=400,
        per_device_batch=TINY.batch,
        devices=1,
        accumulation=1,
        seed=0,
        total_steps=1000,
        warmup_steps=0,
        peak_learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1000,
        eval_steps=None,
        save_steps=None,
        padding=padding,
    )
    with pytest.raises(TrainingStopped):
        fit(backend, rows, plan, watch)
    return watch, floor


def test_what_compiles_is_no_round():
    """Ragged rows meet new shapes at any step, in the trainer and in its floor."""
    watch, floor = watched()
    found = watch.measured
    assert floor.compilations > 1  # else nothing is shown
    assert found.seconds == pytest.approx([STEP] * 12)
    assert found.floors == {"compiled": pytest.approx([FLOOR] * 12)}
    compiled = [seconds for seconds in found.warm_up if seconds > COMPILING]
    assert len(compiled) == watch.backend.compilations


def test_the_first_step_is_no_round():
    """Memory is taken and moments are made there, though nothing be compiled."""
    found = watched(ragged=False)[0].measured
    # The first step, and the second, after which floors are loaded
    assert found.warm_up == pytest.approx([STEP + COMPILING, STEP])


def test_every_figure_of_a_step():
    found = watched()[0].measured
    told = record_of(SETTING, found, lambda rows: training_flops(MODEL, rows), PEAK)
    rows = [row for round in found.lengths for row in round]
    assert {length for row in rows for length in row} > {12}  # true, and not padded
    tokens, work = sum(map(sum, rows)), training_flops(MODEL, rows)
    assert len(rows) == 12 * TINY.batch
    assert told["samples"] == TINY.batch and told["tokens"] == tokens / 12
    assert told["flops"] == work / 12
    assert told["samples_per_second"] == pytest.approx(TINY.batch / STEP)
    assert told["tokens_per_second"] == pytest.approx(tokens / (12 * STEP))
    assert told["flops_per_second"] == pytest.approx(work / (12 * STEP))
    assert told["mfu"] == pytest.approx(work / (12 * STEP) / PEAK)
    assert told["joules"] == pytest.approx(WATTS * STEP)  # the floor's are not in it
    floor = told["floors"]["compiled"]
    assert floor["ratio"] == pytest.approx(FLOOR / STEP)
    assert floor["interval"] == pytest.approx([FLOOR / STEP] * 2)


def test_a_planted_error_of_100_is_caught(monkeypatch):
    """Samples of the whole run over the seconds of one step, as a tool once had it."""
    found = watched(rounds=100)[0].measured
    monkeypatch.setattr(
        "benchmarks.record.per_second", lambda many, seconds: sum(many) / seconds[0]
    )
    with pytest.raises(ValueError, match=r"4000 samples/s are told.* 40 a second"):
        record_of(SETTING, found, None, None)


def test_what_is_not_told_is_none():
    found = watched()[0].measured
    found.joules_after[3] = None
    told = record_of(SETTING, found, None, None)
    names = ("flops", "flops_per_second", "mfu", "joules", "peak_device_bytes")
    assert {told[name] for name in names} == {None}


def test_rounds_end_with_their_number_or_with_the_time():
    effort = Effort(rounds=10, seconds=3.0, fewest=2)
    assert not effort.is_done(1, 100.0)
    assert effort.is_done(2, 3.0)
    assert not effort.is_done(9, 2.9)
    assert effort.is_done(10, 0.1)
    less = effort.times(0.1)
    assert (less.rounds, less.fewest) == (2, 2)
    assert less.seconds == pytest.approx(0.3)
    assert effort.times(4) == Effort(40, 12.0, 2)


def calls(with_floors: bool = True, **given: Any) -> tuple[Any, list[str]]:
    """Three rounds of a call; what was done in which order."""
    machine, done = FakeMachine(floors=with_floors), []

    def call() -> int:
        done.append("call")
        machine.spend(STEP)
        return 4

    def floor() -> None:
        done.append("floor")
        machine.spend(FLOOR)

    found = measure_calls(
        call,
        ((5, 3),) * 4,
        Effort(3, 1e9),
        floors=lambda: {"stock": floor},
        tools=machine.tools,
        **given,
    )
    return found, done


def test_calls_take_turns_with_the_floor():
    found, done = calls()
    # The first of each is left out
    assert done == ["call", "call", "floor", *["floor", "call"] * 2, "floor"]
    assert found.seconds == pytest.approx([STEP] * 3)
    assert found.floors == {"stock": pytest.approx([FLOOR] * 3)}
    told = record_of(SETTING, found, None, None)
    assert told["samples_per_second"] == pytest.approx(4 / STEP)
    assert told["tokens_per_second"] == pytest.approx(4 * 8 / STEP)


def test_the_gate_has_the_times_of_the_trainer_alone():
    watch, floor = watched(floors=False)
    assert watch.measured.seconds == pytest.approx([STEP] * 12)
    assert watch.measured.floors == {} and not floor.met
    found, done = calls(with_floors=False)
    assert (found.floors, done) == ({}, ["call"] * 4)


def test_calls_that_begin_anew_have_no_warm_up():
    found, done = calls(warms_up=False)
    assert done == ["call", "floor"] * 3
    assert found.warm_up == []


def test_generated_tokens_are_those_that_are_new():
    told = record_of(SETTING, calls()[0], None, None, new_tokens=16)
    assert told["tokens"] == 4 * 16


def test_the_same_computation_has_the_same_hash():
    """Whoever computes it, and on which hardware."""
    other = Setting("step", "another", "gpu", TINY, "ragged", "float32", devices=4)
    assert other.hash == SETTING.hash and other.batch == 4 * SETTING.batch
    for change in (
        {"what": "training"},
        {"shape": SHAPES["t5-small"]},
        {"lengths": "full"},
        {"precision": "bfloat16"},
    ):
        assert Setting(**{**vars(SETTING), **change}).hash != SETTING.hash


def test_pytest_benchmark_is_played_the_seconds_that_were_measured():
    played, found = Played(), calls()[0]
    seen: list[float] = []

    def pedantic(target: Any, rounds: int) -> None:
        for _ in range(rounds):
            began = played.now()
            target()
            seen.append(played.now() - began)

    benchmark = SimpleNamespace(extra_info={}, pedantic=pedantic)
    played.into(benchmark, found, {"what": "step"})
    assert seen == pytest.approx(found.seconds)
    assert benchmark.extra_info == {"what": "step"}
