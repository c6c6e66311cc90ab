"""Seconds of steps, by a clock that the test moves."""

from __future__ import annotations

from reference_trainers.report.clock import Clock


class Hands:
    """A clock whose time is set by hand."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def test_a_lap_is_the_time_since_the_last_one() -> None:
    hands = Hands()
    clock = Clock(hands)
    hands.time += 2
    assert clock.lap() == 2
    assert clock.lap() == 0
    hands.time += 0.5
    assert clock.lap() == 0.5
    assert clock.elapsed() == 2.5


def test_a_pause_belongs_to_no_lap() -> None:
    hands = Hands()
    clock = Clock(hands)
    hands.time += 1
    with clock.paused():
        hands.time += 50
    hands.time += 2
    assert clock.lap() == 3
    assert clock.elapsed() == 53
