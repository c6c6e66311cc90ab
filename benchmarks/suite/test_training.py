"""Steps of a trainer beside those of its floor, whole runs, and evaluation."""

from __future__ import annotations

import csv
import itertools
import shutil
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.door import Opened, Workshop
from benchmarks.figures import evaluation_flops, training_flops
from benchmarks.measure import Effort, Lengths, measure_calls
from benchmarks.record import floors_of
from benchmarks.shapes import Shape, model_shape, texts_of
from benchmarks.suite.conftest import Record
from conformance.peers import stock_transformers
from reference_trainers import (
    RunReport,
    SharedTrainer,
    Trainer,
    load_model,
)

STOCK = stock_transformers.TRAINER.name
PYTORCH = ("pytorch", "accelerate")  # stand beside transformers' own script
RUN_STEPS = {"tiny": 40, "t5-small": 4}
BATCHES = 2  # in a round of evaluation


def test_step(opened: Opened, lengths: str, effort: Effort, record: Record) -> None:
    """A step of training: batch, update, and what the loop does around them."""
    measured = opened.train(lengths == "ragged", effort)
    assert measured.rows_seen == sum(map(len, measured.lengths))
    record(
        "step",
        measured,
        work=partial(training_flops, model_shape(opened.source.config)),
        device_bytes=opened.backend.peak_memory_bytes(),
        devices=opened.devices,
    )


def test_evaluation(
    opened: Opened, lengths: str, effort: Effort, record: Record
) -> None:
    """The loss of rows without dropout."""
    ragged = lengths == "ragged"
    rows = BATCHES * opened.shape.batch * opened.devices
    batches = opened.batches(ragged, rows)

    def evaluate() -> int:
        for batch in batches:
            opened.backend.evaluate(batch)  # gives numbers: it has waited
        return sum(batch.rows for batch in batches)

    measured = measure_calls(
        evaluate,
        tuple(opened.shape.lengths(ragged, row) for row in range(rows)),
        effort,
        compilations=lambda: opened.backend.compilations,
        tools=opened.tools,
    )
    assert measured.rows_seen == rows * len(measured.seconds)
    record(
        "evaluation",
        measured,
        work=partial(evaluation_flops, model_shape(opened.source.config)),
        device_bytes=opened.backend.peak_memory_bytes(),
        devices=opened.devices,
    )


def test_training(
    workshop: Workshop,
    trainer: Trainer,
    trainer_name: str,
    shape: Shape,
    lengths: str,
    few: Effort,
    record: Record,
    tmp_path: Path,
) -> None:
    """A whole run: it reads a file, tokenizes, compiles, trains and saves the model."""
    source = load_model(workshop.spec(shape))
    if isinstance(trainer, SharedTrainer):
        trainer.backend_class()  # a framework is imported once in a process
    ragged, rows = lengths == "ragged", RUN_STEPS[shape.name] * shape.batch
    texts = texts_of(source.tokenizer, shape, ragged, rows)
    flags = {
        "train_file": str(written(tmp_path / "train.csv", texts)),
        "max_steps": -1,
        "num_train_epochs": 1.0,
        "overwrite_cache": True,
    }
    reports: dict[str, list[RunReport]] = {trainer.name: [], STOCK: []}
    numbers = itertools.count()

    def run(which: Trainer) -> int:
        out = tmp_path / f"out-{next(numbers)}"
        made = which.run(workshop.spec(shape, **flags, output_dir=str(out)))
        reports[which.name].append(made)
        shutil.rmtree(out)
        return rows_of(made)

    beside = {"stock": lambda: run(stock_transformers.TRAINER)}
    measured = measure_calls(
        lambda: run(trainer),
        lengths_in_tokens(source.tokenizer, shape, texts),
        few,
        floors=lambda: beside if trainer_name in PYTORCH else {},
        warms_up=False,
        tools=workshop.tools,
    )
    assert measured.rows_seen == rows * len(measured.seconds)
    record(
        "training",
        measured,
        work=partial(training_flops, model_shape(source.config)),
        devices=reports[trainer.name][-1].hardware.get("devices", 1),
        floors=of_stock_steps(reports[trainer.name], reports[STOCK]),
    )


def written(path: Path, texts: Sequence[dict[str, str]]) -> Path:
    """A CSV file of rows."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["text", "summary"])
        table.writeheader()
        table.writerows(texts)
    return path


def lengths_in_tokens(
    tokenizer: Any, shape: Shape, texts: Sequence[dict[str, str]]
) -> Lengths:
    """What a run makes of texts: longer ones are cut."""
    columns = (("text", shape.source), ("summary", shape.target))
    sources, targets = (
        [min(len(tokenizer(row[name])["input_ids"]), longest) for row in texts]
        for name, longest in columns
    )
    return tuple(zip(sources, targets, strict=True))


def rows_of(report: RunReport) -> int:
    """Rows of all steps, as far as the report names them."""
    named = [step.row_ids for step in report.steps]
    return sum(len(rows) for rows in named if isinstance(rows, list))


def of_stock_steps(ours: list[RunReport], stock: list[RunReport]) -> dict[str, Any]:
    """Usual steps beside those of transformers' script, where that ran."""
    if not stock:
        return {}
    beside = {"stock-steps": list(map(step_seconds, stock))}
    return floors_of(list(map(step_seconds, ours)), beside)


def step_seconds(report: RunReport) -> float:
    """Of a usual step: the first, and those that compiled, are left out."""
    rest = report.steps[1:]
    return statistics.median(step.seconds for step in rest if not step.compiled)
