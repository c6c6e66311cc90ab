"""The comparison of runs, on made-up reports: numbers, words and page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest

from conformance.compare.comparison import (
    Comparison,
    LossDifference,
    PairDifference,
    Prediction,
    TrainerRun,
    compare,
)
from conformance.compare.json import as_dict
from conformance.compare.page import page
from conformance.compare.table import (
    plain_text,
    samples_per_second,
    tokens_per_second,
    verdicts,
)
from conformance.tolerances import Tolerance
from reference_trainers.results import RunReport, SplitReport, StepRecord, json_text
from reference_trainers.spec import TrainingSpec

SPEC = TrainingSpec(do_train=True, do_predict=True, predict_with_generate=True)


def step_record(step: int, **changes) -> StepRecord:
    said: dict[str, Any] = {
        "step": step,
        "epoch": (step + 1) / 4,
        "row_ids": [2 * step, 2 * step + 1],
        "learning_rate": 1e-3 / (step + 1),
        "loss": 4.0 - 0.1 * step,
        "grad_norm": 1.5,
        "target_tokens": 10 + step,
        "seconds": 9.0 if step == 0 else 0.5,
    }
    return StepRecord(**said | changes)


def report(trainer: str, steps: int = 6, change=None, spec=SPEC) -> RunReport:
    """`change`: (step, quantity, value), where the run departs from the others."""
    records = [step_record(step) for step in range(steps)]
    if change:
        step, quantity, value = change
        records[step] = replace(records[step], **{quantity: value})
    return RunReport(
        trainer=trainer,
        spec=spec.as_dict(),
        spec_hash=spec.hash,
        versions={"numpy": "2.0"},
        hardware={"devices": 1},
        splits={"train": SplitReport(8, 1, "train.csv", "abc")},
        steps=records,
        metrics={"eval_loss": 3.5, "eval_rouge1": 20.25, "eval_runtime": 1.0},
        peak_memory_bytes={"host": 512_000_000},
    )


def run_of(trainer: str, change=None, said: str = "a summary", **more) -> TrainerRun:
    predictions = {0: Prediction("same", "truth"), 1: Prediction(said, "truth")}
    mine = report(trainer, change=change)
    return TrainerRun(trainer, "finished", report=mine, predictions=predictions, **more)


def compared(*runs: TrainerRun, spec: TrainingSpec = SPEC) -> Comparison:
    return compare(spec, runs)


def first_of(found: Comparison) -> PairDifference:
    assert found.first_difference is not None
    return found.first_difference


def largest_of(found: Comparison) -> LossDifference:
    assert found.largest_loss_difference is not None
    return found.largest_loss_difference


def report_of(run: TrainerRun) -> RunReport:
    assert run.report is not None
    return run.report


def test_equal_runs():
    found = compared(run_of("a"), run_of("b"))
    assert found.agreed is True
    assert found.first_difference is None
    assert largest_of(found).difference == 0
    assert "first difference beyond tolerance: none (in 6 steps" in plain_text(found)
    assert "predictions: all 2 equal" in plain_text(found)


def test_largest_difference_is_between_any_two():
    runs = run_of("a"), run_of("b", (3, "loss", 3.75)), run_of("c", (3, "loss", 3.6))
    largest = largest_of(compared(*runs))
    assert (largest.step, largest.a, largest.b) == (3, "b", "c")
    assert largest.difference == pytest.approx(0.15)
    line = "largest loss difference 0.15 at step 3 between b and c"
    assert line in plain_text(compared(*runs))


@pytest.mark.parametrize(
    ("quantity", "value", "within"),
    [
        ("row_ids", [5, 4], [4, 5]),
        ("learning_rate", 3.34e-4, 1e-3 / 3 * (1 + 1e-7)),
        ("target_tokens", 13, 12),
        ("loss", 3.8002, 3.80005),
        ("grad_norm", 1.51, 1.5001),
    ],
)
def test_first_difference_of_each_quantity(quantity, value, within):
    first = first_of(compared(run_of("a"), run_of("b", (2, quantity, value))))
    assert (first.step, first.quantity, first.b_value) == (2, quantity, value)
    assert (first.a, first.b) == ("a", "b")
    same = compared(run_of("a"), run_of("b", (2, quantity, within)))
    assert same.first_difference is None


def test_the_earliest_quantity_of_the_earliest_step_counts():
    other = run_of("b", (2, "loss", 9.0))
    report_of(other).steps[2] = replace(report_of(other).steps[2], target_tokens=99)
    third = run_of("c", (4, "row_ids", []))
    first = first_of(compared(run_of("a"), third, other))
    assert (first.step, first.quantity) == (2, "target_tokens")


def test_a_missing_step_and_nan_are_differences():
    short = TrainerRun("b", "finished", report=report("b", steps=5))
    first = first_of(compared(run_of("a"), short))
    assert (first.step, first.quantity) == (5, "step")
    both = [run_of(name, (1, "loss", math.nan)) for name in "ab"]
    found = compared(*both)
    assert first_of(found).step == 1
    assert largest_of(found).difference == math.inf
    assert json.loads(json_text(as_dict(found)))["steps"][1]["losses"]["a"] == "nan"
    assert "<svg" in page(found)


def test_tolerances_go_by_precision():
    runs = run_of("a"), run_of("b", (2, "loss", 3.8 + 1e-6))
    assert compared(*runs).first_difference is None
    exact = TrainingSpec(do_train=True, dtype="float64")
    assert first_of(compared(*runs, spec=exact)).quantity == "loss"
    half = TrainingSpec(do_train=True, bf16=True)
    rough = run_of("a"), run_of("b", (2, "loss", 3.81))
    assert compared(*rough, spec=half).first_difference is None
    assert not Tolerance(absolute=1e-4).allows(math.nan, math.nan)


def test_different_input_metrics_and_predictions_are_named():
    other = run_of("b", said="another")
    report_of(other).splits["train"] = SplitReport(8, 1, "train.csv", "abd")
    report_of(other).spec_hash = "0" * 64
    report_of(other).metrics["eval_loss"] = 3.6
    del report_of(other).metrics["eval_rouge1"]
    text = plain_text(compared(run_of("a"), other))
    assert "different input: train digest: a abc, b abd" in text
    assert "different input: b ran another spec" in text
    assert "different metric: eval_loss: a 3.5, b 3.6" in text
    assert "different metric: eval_rouge1: b reports none" in text
    assert "predictions: 1 of 2 differ (rows 1)" in text
    assert compared(run_of("a"), other).agreed is False
    assert "a, b: they differ" in page(compared(run_of("a"), other))


def test_other_predictions_of_the_same_training():
    found = compared(run_of("a"), run_of("b", said="another"))
    assert found.agreed is False
    assert "a, b: training within tolerance, results differ" in page(found)


def test_a_lacking_prediction_differs():
    other = replace(run_of("b"), predictions={0: Prediction("same", "truth")})
    assert compared(run_of("a"), other).predictions.differing == [1]


def test_one_finished_trainer_is_compared_with_nothing():
    found = compared(run_of("a"), TrainerRun("b", "failed", "out of memory"))
    assert verdicts(found) == ["nothing was compared: only a finished"]
    assert found.agreed is None
    assert as_dict(found)["compared"] is False
    html = page(found)
    assert "Nothing was compared" in html
    assert "within tolerance" not in html.lower()


def test_runs_without_a_step_are_not_called_equal_in_it():
    runs = [TrainerRun(n, "finished", report=report(n, steps=0)) for n in "ab"]
    text = plain_text(compared(*runs))
    assert "first difference beyond tolerance: no training step was compared" in text
    assert "predictions: not compared, a, b wrote none" in text
    for run in runs:
        report_of(run).metrics.clear()
    assert compared(*runs).agreed is None


def test_speed_leaves_out_the_first_step():
    assert tokens_per_second(report("a")) == (11 + 12 + 13 + 14 + 15) / 2.5
    assert samples_per_second(report("a")) == 10 / 2.5
    digests = report("a")
    digests.steps = [replace(step, row_ids="5e4f") for step in digests.steps]
    assert samples_per_second(digests) == pytest.approx(10 / 2.5)
    assert samples_per_second(report("a", steps=1)) is None


def test_speed_leaves_out_the_steps_that_compile():
    slow = report("a")
    slow.steps[3] = replace(slow.steps[3], compiled=True, seconds=30.0)
    assert tokens_per_second(slow) == (11 + 12 + 14 + 15) / 2.0
    assert samples_per_second(slow) == 8 / 2.0
    slow.steps = [replace(step, row_ids="5e4f") for step in slow.steps]
    assert samples_per_second(slow) == pytest.approx(8 / 2.0)


def test_table():
    header, a, failed = plain_text(
        compared(run_of("a"), TrainerRun("b", "failed", "out of memory"))
    ).splitlines()[:3]
    columns = re.split(r" {2,}", header)
    assert columns[:6] == [
        *("trainer", "steps", "first loss", "last loss", "fall %", "eval loss")
    ]
    row = dict(zip(columns, a.split(), strict=True))
    assert row["first loss"] == "4.000000"
    assert row["fall %"] == "12.5"
    assert row["eval rouge1"] == "20.2500"
    assert row["eval rouge2"] == "-"
    assert (row["samples/s"], row["tokens/s"], row["peak MB"]) == ("4.0", "26", "512")
    assert failed.split()[:2] == ["b", "failed"]


def test_the_table_shows_device_memory_where_a_device_has_some():
    on_host, on_device = run_of("a"), run_of("b")
    report_of(on_host).peak_memory_bytes["device"] = 0
    assert "device MB" not in plain_text(compared(on_host))
    report_of(on_device).peak_memory_bytes["device"] = 7_000_000
    assert "device MB" in plain_text(compared(on_host, on_device))


def test_page_holds_both_curves_and_needs_nothing_else():
    runs = [run_of("first"), run_of("second", said="<script>alert(1)</script>")]
    html = page(compared(*runs, TrainerRun("third", "not run", "no jax here")))
    chart = html[html.index("<svg") : html.index("</svg>")]
    assert ">first<" in chart
    assert ">second<" in chart
    assert "second from first" in chart
    assert "#e69f00" in chart
    assert "#0072b2" in chart
    assert "no jax here" in html
    assert "&lt;script&gt;" in html
    for outside in ("<script", "<link", "@import", 'src="', "url(http", "<metadata"):
        assert outside not in html
    assert not re.search(r'href="(?!#)', html)


def test_dropout_is_named():
    text = plain_text(compared(run_of("a", dropout=0.1), run_of("b", dropout=0.1)))
    assert "dropout is on (a 0.1, b 0.1)" in text
    assert "dropout" not in plain_text(compared(run_of("a", dropout=0.0), run_of("b")))


def test_scores_name_the_rows_that_they_are_of():
    def scored(trainer: str, rouge2: float) -> TrainerRun:
        made = report(trainer)
        made.splits["validation"] = SplitReport(50, 0, "train.csv", "abc")
        made.splits["test"] = SplitReport(20, 0, "test.csv", "def")
        made.metrics |= {"eval_rouge2": 95.5, "predict_rouge1": 21.0}
        made.metrics["predict_rouge2"] = rouge2
        return TrainerRun(trainer, "finished", report=made)

    found = compare(SPEC, [scored("a", 6.0), scored("b", 6.25)])
    assert verdicts(found)[-2:] == [
        "eval scores, of 50 rows of train.csv: rouge1 20.25, rouge2 95.50",
        "predict scores, of 20 rows of test.csv: rouge1 21.00, rouge2 6.00 to 6.25",
    ]
    assert "<td>predict_rouge2</td><td>20 rows of test.csv</td>" in page(found)
