"""Laws of the guide "Train with a script": its commands work word for word.

Each command runs in a process of its own, offline, in a folder where a tiny model and
a few rows lie under the names that the command uses. `--output_dir` alone is another.
Our own trainers are started by their scripts, any other by `--trainer TEXT`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from conformance.launch import environment_of
from conformance.law import law
from conformance.profiles import CPU, Profile
from conformance.runs import Inputs
from conformance.subject import Subject
from fixtures.texts import ragged_rows
from fixtures.write import write_csv, write_jsonl, write_text
from reference_trainers import RunReport, TrainingSpec

SCRIPTS = {
    "pytorch": "pytorch/run_summarization.py",
    "accelerate": "pytorch/run_summarization_no_trainer.py",
    "tensorflow": "tensorflow/run_summarization.py",
    "flax": "flax/run_summarization.py",
}
PYTORCH = """
    --model_name_or_path google-t5/t5-small --do_train --do_eval
    --dataset_name cnn_dailymail --dataset_config "3.0.0"
    --source_prefix "summarize: " --output_dir out
    --per_device_train_batch_size=4 --per_device_eval_batch_size=4
    --overwrite_output_dir --predict_with_generate"""
KERAS = """
    --model_name_or_path google-t5/t5-small --dataset_name cnn_dailymail
    --dataset_config "3.0.0" --output_dir out --per_device_train_batch_size 8
    --per_device_eval_batch_size 16 --num_train_epochs 3 --do_train --do_eval"""
ACCELERATE = """
    --model_name_or_path google-t5/t5-small --dataset_name cnn_dailymail
    --dataset_config "3.0.0" --source_prefix "summarize: " --output_dir ~/out"""
OWN_DATA = """
    --model_name_or_path google-t5/t5-small --do_train --do_eval
    --train_file train.csv --validation_file validation.jsonl
    --text_column long --summary_column short --source_prefix "summarize: "
    --output_dir out --overwrite_output_dir --per_device_train_batch_size=4
    --per_device_eval_batch_size=4 --predict_with_generate"""
ON_LESS = " --max_train_samples 50 --max_eval_samples 50 --max_predict_samples 50"
ROWS = {"train": 60, "validation": 6, "test": 6}
# What `accelerate config` would write after its questions
ACCELERATE_CONFIG = """\
compute_environment: LOCAL_MACHINE
distributed_type: 'NO'
mixed_precision: 'no'
machine_rank: 0
num_machines: 1
num_processes: 1
use_cpu: true
"""


@dataclass(frozen=True)
class Guide:
    """The folder of one reader of the guide, and what starts the trainer."""

    home: Path
    start: tuple[str, ...]
    """The script that the guide names, or the module and the trainer's text."""
    environment: Mapping[str, str]

    def __call__(self, flags: str, *launcher: str) -> subprocess.CompletedProcess[str]:
        """Runs the trainer with these flags in this folder."""
        command = [*(launcher or (sys.executable,)), *self.start]
        env = {**self.environment, "HOME": str(self.home), "HF_HUB_OFFLINE": "1"}
        env |= {"HF_HOME": str(self.home / "cache")}
        # What JAX has compiled for one reader serves the next
        env.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        env.pop("HF_DATASETS_CACHE", None)  # the suite's, which no reader has
        ended = subprocess.run(
            [*command, *shlex.split(flags)],
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == 0, f"status {ended.returncode}: {ended.stderr}"
        return ended

    def trained(
        self, flags: str, *launcher: str, rows: int = ROWS["train"]
    ) -> RunReport:
        """The report of a command that trains and evaluates."""
        ended = self(flags, *launcher)
        report = RunReport.read(self.home / "out")
        assert report.splits["train"].rows == rows
        assert report.splits["validation"].rows == ROWS["validation"]
        assert json.loads(ended.stdout) == report.metrics
        assert {"model.safetensors", "eval_results.json"} <= set(report.files)
        assert ("eval_rouge1" in report.metrics) == ("--predict_with" in flags)
        return report


@pytest.fixture
def guide(subject: Subject, profile: Profile, inputs: Inputs, tmp_path: Path) -> Guide:
    """A folder with the guide's model and data under their own names."""
    model = tmp_path / "google-t5" / "t5-small"
    model.parent.mkdir()
    model.symlink_to(inputs.model, target_is_directory=True)
    data = tmp_path / "abisee" / "cnn_dailymail"  # its present owner
    for split, rows in ROWS.items():
        write_jsonl(data / f"{split}.jsonl", named(rows, "article", "highlights"))
    splits = [{"split": split, "path": f"{split}.jsonl"} for split in ROWS]
    card = {"configs": [{"config_name": "3.0.0", "data_files": splits}]}
    write_text(data / "README.md", f"---\n{json.dumps(card)}\n---\n")
    write_text(tmp_path / "cache/accelerate/default_config.yaml", ACCELERATE_CONFIG)
    environment = os.environ if subject.text in SCRIPTS else environment_of(profile)
    return Guide(tmp_path, start_of(subject), environment)


def start_of(subject: Subject) -> tuple[str, ...]:
    if subject.text not in SCRIPTS:
        return ("-m", "reference_trainers", "--trainer", subject.text)
    package = find_spec("reference_trainers")
    assert package is not None and package.submodule_search_locations
    return (str(Path(package.submodule_search_locations[0], SCRIPTS[subject.text])),)


def named(rows: int, text: str, summary: str) -> list[dict[str, Any]]:
    return [
        {text: row["text"], summary: row["summary"], "id": str(number)}
        for number, row in enumerate(ragged_rows(rows))
    ]


def only(subject: Subject, *names: str) -> None:
    """Of our own trainers, those that the guide gives the command for; all others."""
    if subject.text in SCRIPTS and subject.text not in names:
        pytest.skip(f"not run: the guide gives this command for {', '.join(names)}")


def trains_unasked(subject: Subject) -> None:
    """The guide's Accelerate command names no action: whoever needs one is left out."""
    if not subject.trains_by_default:
        pytest.skip(f"not run: {subject.text} does not train without --do_train")


@law("guide.help", profiles=CPU)
def test_help_documents_every_flag(guide: Guide) -> None:
    """`-h` names every flag, and says something of it."""
    said = guide("-h").stdout
    for flag in fields(TrainingSpec):
        assert f"--{flag.name} " in said.replace(",", " ").replace("]", " "), flag.name
        meaning = " ".join(flag.metadata["help"].split()[:3])
        assert meaning in " ".join(said.split()), f"--{flag.name} is not explained"


@law("guide.pytorch", profiles=CPU)
def test_pytorch_command(subject: Subject, guide: Guide) -> None:
    """The guide's PyTorch command trains, evaluates and generates."""
    only(subject, "pytorch")
    report = guide.trained(PYTORCH)
    assert report.total_steps == 3 * 15


@law("guide.on-less", profiles=CPU)
def test_command_on_less(subject: Subject, guide: Guide) -> None:
    """The guide's PyTorch command works with `--max_*_samples 50` behind it."""
    only(subject, "pytorch")
    report = guide.trained(PYTORCH + ON_LESS, rows=50)
    assert report.total_steps == 3 * 13


@law("guide.tensorflow", profiles=CPU)
def test_tensorflow_command(subject: Subject, guide: Guide) -> None:
    """The guide's TensorFlow command works there, and in Flax as it stands."""
    only(subject, "tensorflow", "flax")
    report = guide.trained(KERAS)
    assert report.total_steps == 3 * 8


@law("guide.accelerate", profiles=CPU)
def test_accelerate_script_needs_no_launcher(subject: Subject, guide: Guide) -> None:
    """The guide's Accelerate command trains and evaluates without being told to."""
    trains_unasked(subject)
    report = guide.trained(ACCELERATE)
    assert report.total_steps == 3 * 8


@law("guide.accelerate-launch", profiles=CPU)
def test_accelerate_launch(subject: Subject, guide: Guide) -> None:
    """The guide's Accelerate command works word for word, `accelerate launch` first."""
    trains_unasked(subject)
    accelerate = Path(sys.executable).with_name("accelerate")
    report = guide.trained(ACCELERATE, str(accelerate), "launch")
    assert report.total_steps == 3 * 8


@law("guide.own-data", profiles=CPU)
def test_own_data(guide: Guide) -> None:
    """The guide's command for one's own data works, with CSV and with JSON Lines."""
    write_csv(guide.home / "train.csv", named(ROWS["train"], "long", "short"))
    rows = named(ROWS["validation"], "long", "short")
    write_jsonl(guide.home / "validation.jsonl", rows)
    report = guide.trained(OWN_DATA)
    sources = {name: split.source for name, split in report.splits.items()}
    assert sources == {"train": "train.csv", "validation": "validation.jsonl"}
