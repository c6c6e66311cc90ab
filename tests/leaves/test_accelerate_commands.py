"""accelerate's own commands: its config, its test, and a launch on two CPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate", reason="not run: accelerate is not installed")

from fixtures.guide import TWO_CPUS
from fixtures.models import tiny_t5
from fixtures.texts import ragged_rows
from fixtures.write import write_csv
from reference_trainers.pytorch import run_summarization_no_trainer
from reference_trainers.results import RunReport

OWN = Path(sys.executable).parent  # `accelerate test` starts a command by its name
SCRIPT = run_summarization_no_trainer.__file__


def accelerate(folder: Path, *words: str) -> str:
    """What the command says; it must end well."""
    places = os.pathsep.join((str(OWN), os.environ.get("PATH", os.defpath)))
    ended = subprocess.run(
        [OWN / "accelerate", *words],
        cwd=folder,
        env={**os.environ, "PATH": places, "HF_HOME": str(folder / "hf")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_a_config_that_accelerate_makes_passes_its_test(tmp_path: Path) -> None:
    accelerate(tmp_path, "config", "default", "--config_file", "one.yaml")
    said = accelerate(tmp_path, "test", "--config_file", "one.yaml")
    assert "Test is a success" in said


@pytest.mark.slow
def test_a_launch_on_two_cpus_is_one_run_of_two_processes(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "rows.csv", ragged_rows(16))
    model = tiny_t5(tmp_path / "model")
    flags = (
        f"--model_name_or_path {model} --train_file {rows} --output_dir out --do_train "
        "--use_cpu --per_device_train_batch_size 2 --max_steps 3 "
        "--max_source_length 32 --max_target_length 8"
    )
    config = str(TWO_CPUS)
    accelerate(tmp_path, "launch", "--config_file", config, SCRIPT, *flags.split())
    report = RunReport.read(tmp_path / "out")
    assert report.hardware["devices"] == 2
    assert report.total_steps == 3
