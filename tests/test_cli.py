"""The command line: spellings, files, refusals in one sentence, -h, exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from reference_trainers import cli
from reference_trainers.cli import parse
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.results import RunReport
from reference_trainers.spec import TrainingSpec
from reference_trainers.spec_file import flags_of_dict

PACKAGE = Path(cli.__file__).parent
SCRIPTS = [
    "pytorch/run_summarization.py",
    "pytorch/run_summarization_no_trainer.py",
    "tensorflow/run_summarization.py",
    "flax/run_summarization.py",
]
HEAVY = ("torch", "tensorflow", "keras", "jax", "transformers", "datasets", "nltk")
# One value other than the default for each flag, where a plain one can be made
CHANGED = TrainingSpec(
    model_name_or_path="a folder/with a space",
    source_prefix="--summarize: ",
    text_column="été",
    max_train_samples=5,
    num_train_epochs=2.5,
    do_train=True,
    learning_rate=1e-300,
    warmup_ratio=0.1,
    early_stopping="never",
    num_beams=4,
    predict_with_generate=True,
    eval_strategy="steps",
    eval_steps=0.25,
    load_best_model_at_end=True,
    greater_is_better=False,
)


def test_nothing_given_is_every_default():
    assert parse([]) == TrainingSpec()


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("evaluation_strategy", "eval_strategy", "epoch"),
        ("dataset_config", "dataset_config_name", "3.0.0"),
        ("no_cuda", "use_cpu", "true"),
        ("max_train_steps", "max_steps", "7"),
        ("num_warmup_steps", "warmup_steps", "3"),
        ("tpu_name", "tpu", "somewhere"),
        ("max_val_samples", "max_eval_samples", "5"),
        ("per_gpu_eval_batch_size", "per_device_eval_batch_size", "2"),
    ],
)
def test_both_spellings_of_a_flag_are_one(old, new, value):
    assert parse([f"--{old}", value]) == parse([f"--{new}={value}"]) != TrainingSpec()


def test_the_beams_of_transformers_arguments_are_ours():
    given = ["--predict_with_generate", "--generation_num_beams", "2"]
    assert parse(given).num_beams == 2


def test_the_token_of_transformers_arguments_is_ours():
    given = ["--push_to_hub", "--push_to_hub_token", "hf_x"]
    assert parse(given).hub_token == "hf_x"


def test_dashes_are_underscores():
    assert parse(["--max-steps", "3"]).max_steps == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], False),
        (["--do_train"], True),
        (["--do_train", "true"], True),
        (["--do_train", "False"], False),
    ],
)
def test_switches(arguments, expected):
    assert parse(arguments).do_train is expected


def test_last_of_two_flags_counts():
    arguments = ["--output_dir", "first", "--output_dir", "second"]
    assert parse(arguments).output_dir == "second"


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_file_reads_back(tmp_path, ending):
    file = tmp_path / f"spec.{ending}"
    text = CHANGED.as_yaml() if ending == "yaml" else json.dumps(CHANGED.as_dict())
    file.write_text(text, encoding="utf-8")
    assert parse([str(file)]) == CHANGED
    assert parse([str(file), "--seed=1"]) == replace(CHANGED, seed=1)


def test_command_line_reads_back():
    assert parse(flags_of_dict(CHANGED.as_dict())) == CHANGED


def test_abbreviations_are_refused():
    with pytest.raises(InputError, match="--max_train_sample: no such flag"):
        parse(["--max_train_sample=3"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], True),
        (["--no_ignore_pad_token_for_loss"], False),
        (["--no-ignore-pad-token-for-loss"], False),
        (["--ignore_pad_token_for_loss", "False"], False),
    ],
)
def test_switches_that_are_on(arguments, expected):
    assert parse(arguments).ignore_pad_token_for_loss is expected


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("save_strategy: no", "save_strategy", "no"),
        ("eval_strategy: off", "eval_strategy", "no"),
        ("{early_stopping: true, predict_with_generate: on}", "early_stopping", "true"),
        ("{early_stopping: no, predict_with_generate: on}", "early_stopping", "false"),
        ("do-train: yes", "do_train", True),
        ("num_beams: null", "num_beams", None),
        ("checkpointing_steps: 7", "save_steps", 7),
    ],
)
def test_yaml_means_what_it_says(tmp_path, text, name, value):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    assert getattr(parse([str(file)]), name) == value


def test_a_command_line_wins_over_an_old_name_in_a_file(tmp_path):
    file = tmp_path / "spec.json"
    file.write_text('{"save_strategy": "no"}')
    assert parse([str(file), "--checkpointing_steps=epoch"]).save_strategy == "epoch"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max_steps", "many"], "--max_steps many: give a whole number."),
        (["--do_train", "perhaps"], "--do_train perhaps: give true or false."),
        (["--dtype", "int8"], "--dtype int8: give float32 or float64."),
        (["--output_dir"], "--output_dir: expected one argument. See -h."),
        (["--num_beam", "2"], "--num_beam: no such flag; did you mean --num_beams?"),
        (["stray"], "'stray': no flag takes this value. See -h."),
        (["spec.yaml"], "spec.yaml: No such file or directory."),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(InputError) as refused:
        parse(arguments)
    assert str(refused.value) == sentence


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(["-h"])
    said = " ".join(capsys.readouterr().out.split())
    for flag in fields(TrainingSpec):
        assert f"--{flag.name} " in said.replace(",", " ")
        assert " ".join(flag.metadata["help"].split()[:4]) in said
    assert "--traceback" in said and "--checkpointing_steps" in said


class SomeTrainer:
    """Does what it is told to."""

    name = "some"
    refuses: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, does):
        self.does = does

    def run(self, spec):
        self.does()
        return RunReport("some", spec.as_dict(), spec.hash, metrics={"loss": 1.5})


def fail(error):
    raise error


def test_a_finished_run_prints_its_metrics(capsys):
    assert cli.main(SomeTrainer(lambda: None), []) == 0
    assert json.loads(capsys.readouterr().out) == {"loss": 1.5}


@pytest.mark.parametrize("traceback", [False, True])
def test_bad_input_is_status_2(capsys, traceback):
    wrong = SomeTrainer(lambda: fail(InputError("train.csv:3: wrong.")))
    assert cli.main(wrong, ["--traceback"] if traceback else []) == 2
    *before, last = capsys.readouterr().err.splitlines()
    assert last.endswith("train.csv:3: wrong.")
    assert bool(before) is traceback


def test_a_stopped_run_is_128_and_the_signal(capsys):
    stopped = SomeTrainer(lambda: fail(TrainingStopped("Stopped.", 143)))
    assert cli.main(stopped, []) == 143
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_outside_of_training(capsys, kind):
    before = signal.default_int_handler  # nohup, say, would have it ignored
    was = signal.signal(kind, before)
    killed = SomeTrainer(lambda: os.kill(os.getpid(), kind))
    with pytest.raises(SystemExit) as ended:
        cli.main(killed, [])
    assert ended.value.code == 128 + kind
    assert capsys.readouterr().err.startswith(f"{kind.name}: stopped before")
    assert signal.getsignal(kind) == before
    signal.signal(kind, was)


def started(script: str, *arguments: str, **given: Any) -> Any:
    """A script's process, which shows what it has imported as it ends."""
    code = (
        "import atexit, runpy, sys; "
        f"heavy = {HEAVY!r}; "
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules])); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, str(PACKAGE / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **given)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "arguments",
    [
        "-h",
        "--nonsense 3",
        "--do_train --tpu t",
        "--do_train --train_file nowhere.csv",
        "--do_train --dataset_name d --train_file rows.csv",
    ],
)
def test_what_is_refused_imports_no_framework(script, arguments, tmp_path):
    ended = started(script, *arguments.split(), cwd=tmp_path)
    assert ended.stdout.splitlines()[-1] == "[]"
    if arguments == "-h":
        assert ended.returncode == 0
    else:
        assert ended.returncode == 2
        assert re.fullmatch(r"--[^\n]+\.\n|--[^\n]+\?\n", ended.stderr), ended.stderr


def test_a_finding_of_a_missing_file_names_its_flag(tmp_path):
    ended = started(SCRIPTS[3], "--do_train", "--train_file", "no.csv", cwd=tmp_path)
    assert ended.stderr == "--train_file no.csv: no such file.\n"


def test_two_dashes_are_a_text_like_any_other():
    """To argparse they are no value at all."""
    with pytest.raises(InputError, match="--max_steps --: give a whole number"):
        parse(["--max_steps=--"])
    with pytest.raises(InputError, match="--do_train --: give true or false"):
        parse(["--do_train=--"])
    assert parse(["--source_prefix=--"]).source_prefix == "--"
