"""The launcher of several processes: every framework's words say the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conformance.processes import environments, main, running
from reference_trainers import world_of

START = [sys.executable, "-m", "conformance.processes", "2", "-c"]
OF_A_FRAMEWORK = {
    "PyTorch": ("RANK", "WORLD_SIZE"),
    "JAX": ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES"),
    "TensorFlow": ("TF_CONFIG",),
}


@pytest.mark.parametrize("names", OF_A_FRAMEWORK.values(), ids=OF_A_FRAMEWORK)
def test_each_framework_is_told_who_a_process_is(names: tuple[str, ...]) -> None:
    for rank, words in enumerate(environments(3)):
        world = world_of({name: words[name] for name in names})
        assert (world.rank, world.size) == (rank, 3)


def test_the_addresses_of_a_run_are_its_own() -> None:
    words = environments(2)[0]
    places = [words["JAX_COORDINATOR_ADDRESS"], f"127.0.0.1:{words['MASTER_PORT']}"]
    assert len({*places, *words["TF_CONFIG"].split('"')} & {*places}) == 2


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("import os; os.environ['RANK']", 0),
        ("import os, sys; sys.exit(2 * (os.environ['RANK'] == '1'))", 2),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_it_ends_as_the_first_that_fails_does(program: str, status: int) -> None:
    assert subprocess.run([*START, program]).returncode == status


def test_a_signal_reaches_each(tmp_path: Path) -> None:
    touch = f"import os, time; open(r'{tmp_path}/' + os.environ['RANK'], 'w').close()"
    launcher = subprocess.Popen([*START, f"{touch}; time.sleep(60)"])
    while len(os.listdir(tmp_path)) < 2:
        assert launcher.poll() is None
        time.sleep(0.02)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(30) == 128 + signal.SIGTERM


def test_no_process_outlives_a_block_that_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        running(2, ["sleep", "60"], os.environ, tmp_path / "log") as processes,
    ):
        raise ZeroDivisionError
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize("words", [(), ("2",), ("two", "x.py"), ("0", "x.py")])
def test_what_it_cannot_start_is_a_line_of_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("usage: ")
