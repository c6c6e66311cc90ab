"""What the suite is asked for and does not know fails at once: no run is no pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.plugin.trainers import require_laws, require_trainers
from conformance.subject import Subject

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("nosuch", "--trainer nosuch: no such trainer; there are:"),
        ("nosuch_package:TRAINER", "--trainer nosuch_package:TRAINER: cannot be"),
        ("nosuchprogram ", "--trainer-command nosuchprogram: there is no"),
        ("nosuchprogram --x", "--trainer-command nosuchprogram --x: there is no"),
    ],
)
def test_a_trainer_that_is_not_there_is_an_error(asked, said):
    with pytest.raises(pytest.UsageError, match=said):
        require_trainers([asked])


def test_a_law_that_is_not_there_is_an_error_that_names_one_like_it():
    require_laws(["arithmetic.accumulation"])
    with pytest.raises(pytest.UsageError, match=r"no such law \(arithmetic.accum"):
        require_laws(["arithmetic.acumulation"])


def test_the_command_ends_with_pytests_own_status_for_it():
    command = [sys.executable, "-m", "pytest", "conformance", "--trainer", "nosuch"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--trainer nosuch: no such trainer" in ended.stderr


def test_one_word_may_be_a_command():
    assert Subject.of("true ").command == ("true",)
