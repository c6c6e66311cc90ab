"""A launcher that starts one process where several were asked for is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="not run: PyTorch is not installed")

from fixtures.write import write_text
from reference_trainers.errors import InputError
from reference_trainers.pytorch import launcher
from reference_trainers.world import World

SCRIPT = ["run_summarization_no_trainer.py", "--do_train", "--num_beams", "4"]
ACCELERATE = ["/bin/python", "/bin/accelerate", "launch"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], 1),
        (["bash", "launch", "2"], 1),
        ([*ACCELERATE, "--cpu", "--num_processes", "2", *SCRIPT], 2),
        ([*ACCELERATE, "--cpu", "--num_processes=3", *SCRIPT], 3),
        ([*ACCELERATE, *SCRIPT, "--num_processes", "2"], 1),
    ],
)
def test_what_the_command_line_asks_for(
    words: list[str], asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.commands.config import config_args

    monkeypatch.setattr(config_args, "default_config_file", str(tmp_path / "no.yaml"))
    assert launcher.processes_asked_for(words) == asked


def test_what_its_config_asks_for(tmp_path: Path) -> None:
    said = "distributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 4\n"
    said += "compute_environment: LOCAL_MACHINE\nmixed_precision: 'no'\n"
    file = write_text(tmp_path / "config.yaml", said)
    words = [*ACCELERATE, "--config_file", str(file), *SCRIPT]
    assert launcher.processes_asked_for(words) == 4


def test_one_process_instead_of_two_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*ACCELERATE, "--cpu", "--num_processes", "2", *SCRIPT]
    monkeypatch.setattr(launcher, "words_of_the_parent", lambda: words)
    with pytest.raises(InputError, match="asked for 2 processes and started one"):
        launcher.require_processes_asked_for(World())
    launcher.require_processes_asked_for(World(rank=1, size=2))
