"""Laws of what a run leaves behind: its files, their keys, and what opens them."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.law import law
from conformance.profiles import ALL
from conformance.runs import Finished, Runs
from conformance.tolerances import RECUT, allowed
from fixtures.texts import ragged_rows
from fixtures.write import write_jsonl
from reference_trainers import RunReport, TrainingSpec

ACTIONS = [
    {"do_train": train, "do_eval": evaluate, "do_predict": predict}
    for train, evaluate, predict in product((True, False), repeat=3)
    if train or evaluate or predict
]
NAMES = {"do_train": "train", "do_eval": "eval", "do_predict": "predict"}
ALWAYS = {"all_results.json", "run_report.json"}
TRAINED = {"train_results.json", "trainer_state.json", "README.md"}
GENERATED = {"generated_predictions.txt", "predictions.jsonl"}
SPEEDS = {"runtime", "samples", "samples_per_second", "steps_per_second"}
ROUGE = {"rouge1", "rouge2", "rougeL", "rougeLsum", "gen_len"}
SMALL: dict[str, Any] = {"max_steps": 2, "max_eval_samples": 6, "max_target_length": 8}


def action_id(actions: dict[str, bool]) -> str:
    return "-".join(NAMES[flag] for flag, on in actions.items() if on)


every_action = pytest.mark.parametrize("actions", ACTIONS, ids=action_id)
generating = pytest.mark.parametrize("generate", [False, True], ids=["loss", "texts"])


def acted(run: Runs, actions: dict[str, bool], generate: bool) -> Finished:
    return run(**actions, predict_with_generate=generate, **SMALL)


@law("results.files", profiles=ALL)
@every_action
@generating
def test_each_action_writes_its_own_files(
    run: Runs, actions: dict[str, bool], generate: bool
) -> None:
    """Each combination of do_* flags writes exactly its own files, and lists them."""
    made = acted(run, actions, generate)
    expected = set(ALWAYS)
    if actions["do_train"]:  # the model folder holds what from_pretrained needs
        expected |= TRAINED | {path.name for path in run.inputs.model.iterdir()}
    if actions["do_eval"]:
        expected |= {"eval_results.json"}
    if actions["do_predict"]:
        expected |= {"predict_results.json"} | (GENERATED if generate else set())
    assert made.files == expected, (
        f"missing: {sorted(expected - made.files)}; "
        f"too many: {sorted(made.files - expected)}"
    )
    assert set(made.report.files) == expected, "run_report.json lists other files"


@law("results.metrics", profiles=ALL)
@every_action
@generating
def test_result_files_hold_their_metrics(
    run: Runs, actions: dict[str, bool], generate: bool
) -> None:
    """Each *_results.json holds its metrics, and all_results.json all of them."""
    made = acted(run, actions, generate)
    together: dict[str, float] = {}
    for flag in (flag for flag, on in actions.items() if on):
        name = NAMES[flag]
        results = made.json(f"{name}_results.json")
        kinds = SPEEDS | {"loss"}
        if generate and name != "train":
            kinds |= ROUGE
        keys = {f"{name}_{kind}" for kind in kinds}
        assert results.keys() == (keys | {"epoch"} if name == "train" else keys)
        assert all(math.isfinite(value) for value in results.values()), results
        together |= results
    assert made.json("all_results.json") == together
    assert made.report.metrics == together


@law("results.report", profiles=ALL)
@every_action
@generating
def test_report_reads_back(run: Runs, actions: dict[str, bool], generate: bool) -> None:
    """run_report.json reads back as the report that the run returned."""
    made = acted(run, actions, generate)
    read = RunReport.read(made.folder)
    assert read == made.report
    assert run.subject.name in (None, read.trainer)
    assert (
        read.spec_hash
        == run.spec(**actions, predict_with_generate=generate, **SMALL).hash
    )
    assert len(read.steps) == read.total_steps == 2 * actions["do_train"]
    splits = dict(zip(actions, ("train", "validation", "test"), strict=True))
    assert read.splits.keys() == {splits[flag] for flag, on in actions.items() if on}


@law("results.predictions", profiles=ALL)
def test_every_row_is_predicted_once(run: Runs) -> None:
    """Predictions: one line a row, in the order of the file, with the row's number."""
    made = acted(run, ACTIONS[0], generate=True)
    lines = (made.folder / "generated_predictions.txt").read_text("utf-8")
    rich = (made.folder / "predictions.jsonl").read_text("utf-8")
    records = [json.loads(line) for line in rich.split("\n")[:-1]]
    assert [record["row"] for record in records] == list(range(6))
    assert len(lines.splitlines()) == 6
    rows = [
        json.loads(line) for line in run.inputs.rows.read_text("utf-8").split("\n")[:6]
    ]
    for record, row in zip(records, rows, strict=True):
        # Truncated to 8 tokens, the end among them
        assert row["summary"].startswith(record["reference"]), "another row's summary"


@law("results.row-numbers", profiles=ALL)
def test_dropped_rows_keep_their_numbers(run: Runs, tmp_path_factory: Any) -> None:
    """A row's number is its place in the file, whatever was dropped before it."""
    rows: list[dict[str, Any]] = [dict(row) for row in ragged_rows(5)]
    rows[1]["text"], rows[3]["summary"] = "", None
    file = write_jsonl(tmp_path_factory.mktemp("dropped") / "rows.jsonl", rows)
    made = run(
        do_train=False,
        do_predict=True,
        predict_with_generate=True,
        test_file=str(file),
        max_target_length=8,
    )
    rich = (made.folder / "predictions.jsonl").read_text("utf-8")
    assert [json.loads(line)["row"] for line in rich.splitlines()] == [0, 2, 4]
    assert (made.report.splits["test"].rows, made.report.splits["test"].dropped) == (
        3,
        2,
    )


@law("results.defaults", profiles=ALL)
def test_default_flags_run_end_to_end(run: Runs, tmp_path: Path) -> None:
    """Model, files and output folder are enough: three epochs of 8 rows a device."""
    file = write_jsonl(tmp_path / "rows.jsonl", ragged_rows(12))
    spec = TrainingSpec(
        model_name_or_path=str(run.inputs.model),
        train_file=str(file),
        validation_file=str(file),
        output_dir=str(tmp_path / "output"),
        do_train=True,
        do_eval=True,
        **run.profile.flags,
    )
    report = run.launch(spec)
    batch = 8 * run.profile.devices
    epoch = [len(range(first, min(first + batch, 12))) for first in range(0, 12, batch)]
    assert [len(step.row_ids) for step in report.steps] == epoch * 3
    assert report.metrics["epoch"] == 3
    assert report.steps[0].learning_rate == 5e-5


@law("results.nothing-temporary", profiles=ALL)
def test_nothing_temporary_is_left(run: Runs) -> None:
    """No hidden, partial or empty file stays in the output folder."""
    made = acted(run, ACTIONS[0], generate=True)
    left = [path.name for path in made.folder.rglob("*")]
    assert not [name for name in left if name.startswith(".") or "tmp" in name]
    assert all((made.folder / name).stat().st_size for name in made.files)


@law("results.from-pretrained", profiles=ALL)
def test_transformers_opens_the_output_folder(run: Runs) -> None:
    """The output folder opens as a model of transformers, with the trained weights."""
    from transformers import AutoConfig, AutoTokenizer

    made = acted(run, ACTIONS[0], generate=True)
    before = AutoTokenizer.from_pretrained(run.inputs.model)
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    text = "Some words, 12 and more."
    assert tokenizer(text)["input_ids"] == before(text)["input_ids"]
    assert AutoConfig.from_pretrained(made.folder).model_type == "t5"
    saved = load_file(made.folder / "model.safetensors")
    initial = load_file(run.inputs.model / "model.safetensors")
    assert saved.keys() == initial.keys(), (
        "the weights have lost the names that they had"
    )
    same = [name for name in saved if np.array_equal(saved[name], initial[name])]
    assert not same, f"training left these as they were: {same}"
    pytest.importorskip("torch", reason="not run: torch is not installed")
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(made.folder)
    opened = model.state_dict()
    for name, values in saved.items():
        assert np.array_equal(opened[name].numpy(), values), name


@law("results.evaluation-loss", profiles=ALL)
def test_evaluation_loss_is_per_token(run: Runs) -> None:
    """The evaluation loss is per token of the set, whatever the evaluation batch."""
    flags = {"do_train": False, "do_eval": True, "max_eval_samples": 7}
    losses = {
        size: run(per_device_eval_batch_size=size, **flags).report.metrics["eval_loss"]
        for size in (1, 3, 7)
    }
    tolerance = allowed(RECUT, run.profile.precision)["eval_loss"]
    for size, loss in losses.items():
        assert tolerance.allows(loss, losses[1]), (
            f"batch {size}: {loss}, batch 1: {losses[1]}; look at how batches of "
            "unequal length are averaged"
        )


@law("results.evaluations", profiles=ALL)
@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ({"eval_strategy": "steps", "eval_steps": 2, "max_steps": 5}, [2, 4, 5]),
        ({"eval_strategy": "epoch", "max_steps": -1, "num_train_epochs": 2.0}, [3, 6]),
    ],
    ids=["steps", "epoch"],
)
def test_evaluations_while_training_are_recorded(
    run: Runs, flags: dict[str, Any], steps: list[int]
) -> None:
    """With eval_strategy the evaluations are recorded with their steps."""
    made = run(max_train_samples=10, **flags)
    found = made.report.evaluations
    assert [evaluation["step"] for evaluation in found] == steps
    losses = [evaluation["eval_loss"] for evaluation in found]
    assert losses[1] < losses[0], "evaluations do not see the trained weights"
    history = made.json("trainer_state.json")["log_history"]
    logged = [entry for entry in history if "eval_loss" in entry]
    expected = list(zip(steps, losses, strict=True))
    assert [(entry["step"], entry["eval_loss"]) for entry in logged] == expected
