"""Laws of the guide "Train with a script": its commands work word for word.

The commands are those of `fixtures/guide`. Each runs in a process of its own, against a
local Hub that has the guide's model and dataset by their names. Adapted are the path of
the script, the output folder, names that stand for something (`path_to_...`), the
number of processes (two) and two lengths, which make it short. Our own trainers are
started by their scripts, any other by `--trainer TEXT`. What needs a TPU is run on a
machine without one too: it must say so.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

import reference_trainers
from conformance.hardware import needs_a_tpu
from conformance.law import law
from conformance.profiles import CPU, Profile
from conformance.subject import Subject
from conformance.workers import environment_of
from fixtures.guide import COMMANDS, Command
from fixtures.hub import Hub, seed
from fixtures.texts import ragged_rows
from fixtures.write import write_csv, write_jsonl, write_text
from reference_trainers import RunReport, TrainingSpec

SCRIPTS = {
    "pytorch": "pytorch/run_summarization.py",
    "accelerate": "pytorch/run_summarization_no_trainer.py",
    "tensorflow": "tensorflow/run_summarization.py",
    "flax": "flax/run_summarization.py",
}
PACKAGE = Path(reference_trainers.__file__).parent
PROCESSES = 2
SHORT = "--max_source_length 32 --max_target_length 8"
ROWS = {"train": 100, "validation": 50}  # of the dataset
OWN_ROWS = {"train": 60, "validation": 6}  # of the reader's files
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
class Reader:
    """Someone who types the guide's commands in a folder of his own."""

    home: Path
    start: tuple[str, ...]
    """The script that the guide names, or the module and the trainer's text."""
    environment: Mapping[str, str]
    is_a_command: bool = False
    """The trainer needs no Python before it."""

    @property
    def output(self) -> Path:
        return self.home / "tst-summarization"

    def adapted(self, command: str) -> list[str]:
        """The words of a command, with this reader's own folders and names."""
        words: list[str] = []
        files = iter(("train.csv", "validation.jsonl"))
        own = {
            "/tmp/tst-summarization": str(self.output),
            "~/tmp/tst-summarization": str(self.output),
            "previous_output_dir": str(self.output),
            "path_to_specific_checkpoint": str(self.output / "checkpoint-2"),
            "text_column_name": "long",
            "summary_column_name": "short",
            "python": sys.executable,
            "torchrun": str(Path(sys.executable).with_name("torchrun")),
            "accelerate": str(Path(sys.executable).with_name("accelerate")),
        }
        command = command.replace("--nproc_per_node 8", f"--nproc_per_node {PROCESSES}")
        for word in shlex.split(command.replace("\\\n", " ")):
            if word == "python" and self.is_a_command:
                continue
            if word == "$S/xla_spawn.py":
                words.append(str(PACKAGE / "pytorch/xla_spawn.py"))
            elif word.startswith("$S/"):
                words += self.start
            elif word == "path_to_csv_or_jsonlines_file":
                words.append(next(files))
            else:
                words.append(own.get(word, word))
        return words

    def types(self, command: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Runs a command in this folder; it must end well, or with that status."""
        ended = subprocess.run(
            self.adapted(command),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode == status, f"status {ended.returncode}: {ended.stderr}"
        return ended


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub with the guide's model and dataset."""
    with Hub(tmp_path_factory.mktemp("hub")) as running:
        seed(running.store)
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one reader has downloaded serves the next."""
    folder = tmp_path_factory.mktemp("cache")
    write_text(folder / "accelerate/default_config.yaml", ACCELERATE_CONFIG)
    return folder


@pytest.fixture
def reader(
    subject: Subject, profile: Profile, hub: Hub, cache: Path, tmp_path: Path
) -> Reader:
    """A reader with two files of rows, and the right to push."""
    for name, write in (("train.csv", write_csv), ("validation.jsonl", write_jsonl)):
        rows = ragged_rows(OWN_ROWS[name.partition(".")[0]])
        named = [{"long": row["text"], "short": row["summary"]} for row in rows]
        write(tmp_path / name, named)
    started = os.environ if subject.text in SCRIPTS else environment_of(profile)
    environment = {**started, "HOME": str(tmp_path)}
    # What JAX has compiled for one reader serves the next
    environment.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    environment.pop("HF_DATASETS_CACHE", None)  # the suite's, which no reader has
    environment |= hub.environment(cache, token="hf_writes")
    command = bool(subject.command)
    return Reader(tmp_path, start_of(subject), environment, command)


def start_of(subject: Subject) -> tuple[str, ...]:
    if subject.command:
        return subject.command
    if subject.text not in SCRIPTS:
        return ("-m", "reference_trainers", "--trainer", subject.text)
    return (str(PACKAGE / SCRIPTS[subject.text]),)


@law("guide.help", profiles=CPU)
def test_help_documents_every_flag(reader: Reader) -> None:
    """`-h` names every flag, and says something of it."""
    said = reader.types("python $S/run_summarization.py -h").stdout
    for flag in fields(TrainingSpec):
        assert f"--{flag.name} " in said.replace(",", " ").replace("]", " "), flag.name
        meaning = " ".join(flag.metadata["help"].split()[:3])
        assert meaning in " ".join(said.split()), f"--{flag.name} is not explained"


@law("guide.commands", profiles=CPU)
@pytest.mark.parametrize("id", COMMANDS)
def test_command(
    subject: Subject, reader: Reader, hub: Hub, id: str, request: pytest.FixtureRequest
) -> None:
    """Every command of the guide works word for word."""
    command = COMMANDS[id]
    leave_out(command, subject, request)
    if command.needs == "tpu" and needs_a_tpu():
        says_what_it_needs(command, reader)
        return
    if command.after == "checkpoint":
        base = command.command.replace("--overwrite_output_dir", "")
        base = base.replace("--resume_from_checkpoint path_to_specific_checkpoint", "")
        reader.types(f"{base} {SHORT} --max_steps 4 --save_steps 2")
    ended = reader.types(f"{command.command} {SHORT}")
    report = RunReport.read(reader.output)
    assert json.loads(ended.stdout) == report.metrics
    assert {"model.safetensors", "eval_results.json"} <= set(report.files)
    assert ("eval_rouge1" in report.metrics) == ("--predict_with" in command.command)
    rows = OWN_ROWS if "--train_file" in command.command else ROWS
    rows = {"train": 50, "validation": 50} if "--max_train" in command.command else rows
    assert {name: split.rows for name, split in report.splits.items()} == rows
    size = 4 if "train_batch_size=4" in command.command else 8
    size *= PROCESSES if command.command.startswith("torchrun") else 1
    assert report.total_steps == 3 * -(-rows["train"] // size)
    assert report.resumed_at == {"resume": 4, "resume-named": 2}.get(id)
    if "--push_to_hub" in command.command:
        named = "_model_id" in command.command
        name = "finetuned-t5-cnn_dailymail" if named else "tst-summarization"
        found = hub.files(f"user/{name}")
        model = (reader.output / "model.safetensors").read_bytes()
        assert found["model.safetensors"] == model


def says_what_it_needs(command: Command, reader: Reader) -> None:
    """One sentence, exit status 2, and nothing written."""
    before = sorted(reader.home.glob("[!.]*"))  # Keras makes a folder for its settings
    ended = reader.types(f"{command.command} {SHORT}", status=2)
    assert re.fullmatch(f"(?:{command.without})\n", ended.stderr), ended.stderr
    assert ended.stdout == ""
    assert sorted(reader.home.glob("[!.]*")) == before


def leave_out(
    command: Command, subject: Subject, request: pytest.FixtureRequest
) -> None:
    """Skips what is another's, and, unless asked for, what is run in another."""
    if subject.command and not command.command.startswith("python "):
        pytest.skip("not run: a command is started as it is, by no launcher")
    if command.needs and subject.text not in SCRIPTS:
        pytest.skip(f"not run: a {command.needs} is got as the trainer says")
    if "--do_" not in command.command and not subject.trains_by_default:
        pytest.skip(f"not run: {subject.text} does not train without --do_train")
    if subject.text not in SCRIPTS:
        return  # a third party's trainer is to know every command
    if subject.text not in command.trainers:
        given = ", ".join(command.trainers)
        pytest.skip(f"not run: the command is for {given}")
    asked = "guide.commands" in (request.config.getoption("--law") or ())
    if not asked and subject.text != command.trainers[0]:
        pytest.skip("not run: in every framework with --law guide.commands")
