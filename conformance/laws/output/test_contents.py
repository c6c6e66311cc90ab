"""Laws of what stands in the files that a run leaves, beside its metrics and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from conformance.law import law
from conformance.profiles import ALL
from conformance.runs import Finished, Runs

EVERYTHING: dict[str, Any] = {
    "do_eval": True,
    "do_predict": True,
    "predict_with_generate": True,
    "max_target_length": 8,
    "save_strategy": "steps",
    "save_steps": 3,
    "logging_steps": 2,
    "report_to": "tensorboard",
}


@pytest.fixture
def made(run: Runs) -> Finished:
    """A run of five steps that leaves every file there is."""
    return run(**EVERYTHING)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def read(text: str) -> Any:
    return json.loads(text, parse_constant=refuse)


@law("results.encoding", profiles=ALL)
def test_every_text_is_utf8_and_ends_in_a_newline(made: Finished) -> None:
    """Every text is UTF-8; lines end in a newline, and JSON has no NaN."""
    texts = [n for n in made.files if Path(n).suffix in (".json", ".jsonl", ".txt")]
    assert len(texts) > 12
    for name in texts:
        text = (made.folder / name).read_bytes().decode("utf-8")
        if name.endswith(".json"):
            assert read(text) is not None, name
        else:
            assert text.endswith("\n"), name
        if name.endswith(".jsonl"):
            assert all(map(read, text.splitlines())), name


def logged(made: Finished) -> list[dict[str, Any]]:
    history = made.json("trainer_state.json")["log_history"]
    return [entry for entry in history if "loss" in entry]


@law("results.log", profiles=ALL)
def test_the_log_holds_the_mean_since_the_last(made: Finished) -> None:
    """trainer_state.json logs, as often as asked, the mean loss since the last time."""
    found = logged(made)
    assert [entry["step"] for entry in found] == [2, 4, 5]
    means = [np.mean(made.losses[a:b]) for a, b in ((0, 2), (2, 4), (4, 5))]
    assert [entry["loss"] for entry in found] == pytest.approx(means, rel=1e-6)
    for entry in found:
        last = made.steps[entry["step"] - 1]
        assert entry["learning_rate"] == pytest.approx(last.learning_rate)
        assert entry["epoch"] == pytest.approx(last.epoch)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder of events: by tag, steps and values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()
    shown = {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]
    }
    for tag in tags["tensors"]:  # as TensorBoard's own writer has them, and texts
        values = [(e.step, make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)]
        if all(value.dtype.kind == "f" for _, value in values):
            shown[tag] = [(step, float(value)) for step, value in values]
    return shown


@law("results.events", profiles=ALL)
def test_tensorboard_shows_the_log(made: Finished) -> None:
    """With report_to, TensorBoard's file holds every loss of the log at its step."""
    folders = {path.parent for path in made.folder.rglob("*tfevents*")}
    assert folders, "TensorBoard has no file to show"
    shown = {tag: found for at in folders for tag, found in scalars(at).items()}
    wanted: Any = [
        (entry["step"], pytest.approx(entry["loss"])) for entry in logged(made)
    ]
    found = any(shown[tag] == wanted for tag in shown)
    assert found, f"none of {sorted(shown)} is the loss of the log"


@law("results.checkpoint", profiles=ALL)
def test_a_checkpoint_opens_as_the_model_of_its_step(run: Runs, made: Finished) -> None:
    """A checkpoint opens as a model of transformers; the last has the final weights."""
    from transformers import AutoConfig, AutoTokenizer

    opens = {path.name for path in run.inputs.model.iterdir()}
    weights = {}
    for step in (3, 5):
        folder = made.folder / f"checkpoint-{step}"
        assert opens <= {path.name for path in folder.iterdir()}
        assert AutoConfig.from_pretrained(folder).model_type == "t5"
        assert AutoTokenizer.from_pretrained(folder)("Yes.")["input_ids"]
        weights[step] = load_file(folder / "model.safetensors")
    final = load_file(made.folder / "model.safetensors")
    assert weights[5].keys() == weights[3].keys() == final.keys()
    assert all(np.array_equal(weights[5][name], final[name]) for name in final)
    assert not all(np.array_equal(weights[3][name], final[name]) for name in final)


@law("results.card", profiles=ALL)
def test_the_model_card_holds_the_results(made: Finished) -> None:
    """README.md is a model card: its metadata say the task and every metric."""
    text = (made.folder / "README.md").read_text("utf-8")
    _, matter, body = text.split("---\n", 2)
    card = yaml.safe_load(matter)
    assert card["pipeline_tag"] == "summarization"
    assert body.strip()
    shown = {
        (result["dataset"]["split"], metric["name"]): metric["value"]
        for model in card["model-index"]
        for result in model["results"]
        for metric in result["metrics"]
    }
    for split, action in (("validation", "eval"), ("test", "predict")):
        for name in ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum"):
            assert shown[split, name] == made.report.metrics[f"{action}_{name}"]


@law("results.speeds", profiles=ALL)
def test_speeds_are_counts_over_time(made: Finished) -> None:
    """Speeds are the rows, and the batches, of an action over its time."""
    metrics = made.report.metrics
    batch = made.report.spec["per_device_eval_batch_size"]
    counts = {"train": (4 * 5, 5), "eval": (6, 6 / batch), "predict": (6, 6 / batch)}
    for name, (rows, batches) in counts.items():
        per_second = metrics[f"{name}_samples_per_second"]
        steps = metrics[f"{name}_steps_per_second"]
        # Both are rounded to three decimals, the time to four
        slack = 1e-3 / steps + 1e-4 / metrics[f"{name}_runtime"] + 1e-6
        assert per_second / steps == pytest.approx(rows / -(-batches // 1), rel=slack)
        took = rows / per_second
        assert took == pytest.approx(metrics[f"{name}_runtime"], rel=slack), name
