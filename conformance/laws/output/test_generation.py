"""Laws of the texts that a run writes: what each flag of the search asks for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from conformance.law import law
from conformance.laws.properties import for_all
from conformance.profiles import FLOAT
from conformance.runs import Finished, Runs
from fixtures.write import write_text

LONGEST = 24
WRITING: dict[str, Any] = {
    "do_train": False,
    "do_predict": True,
    "predict_with_generate": True,
    "val_max_target_length": LONGEST,
    "max_predict_samples": None,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Session-wide, as runs are remembered by the names of their files."""
    return tmp_path_factory.mktemp("generation")


@pytest.fixture
def rows(run: Runs, folder: Path) -> Path:
    """Rows that the model has learned."""
    lines = run.inputs.rows.read_text("utf-8").splitlines(keepends=True)
    return write_text(folder / "rows.jsonl", "".join(lines[:5]))


@pytest.fixture
def learned(run: Runs) -> str:
    """A model that knows the first rows: its texts end, each at a length of its own."""
    made = run(max_train_samples=8, max_steps=60, learning_rate=1e-2)
    return str(made.folder)


def written(run: Runs, file: Path, **flags: Any) -> Finished:
    return run(**{**WRITING, "test_file": str(file), **flags})


def texts(made: Finished) -> list[str]:
    lines = (made.folder / "generated_predictions.txt").read_text("utf-8")
    return lines.removesuffix("\n").split("\n")


@law("generation.longest", profiles=FLOAT)
def test_a_lower_limit_writes_the_beginning(
    run: Runs, rows: Path, learned: str
) -> None:
    """Texts under a lower limit are the beginnings of those under a higher one."""
    flags: dict[str, Any] = {"model_name_or_path": learned, "num_beams": 1}
    short = written(run, rows, val_max_target_length=5, **flags)
    longer = written(run, rows, **flags)
    found = list(zip(texts(short), texts(longer), strict=True))
    assert all(whole.startswith(brief) for brief, whole in found)
    assert any(whole != brief for brief, whole in found)
    # The start token is one of the five, and is not counted
    assert short.report.metrics["predict_gen_len"] <= 4
    assert longer.report.metrics["predict_gen_len"] > 4


@law("generation.shortest", profiles=FLOAT)
def test_a_least_length_is_reached(run: Runs, rows: Path, learned: str) -> None:
    """Where a text would end sooner, min_length makes it go on."""
    free = written(run, rows, model_name_or_path=learned)
    held = written(run, rows, model_name_or_path=learned, min_length=LONGEST)
    assert held.report.metrics["predict_gen_len"] == LONGEST - 1
    assert free.report.metrics["predict_gen_len"] < LONGEST - 2


@law("generation.no-repeats", profiles=FLOAT)
def test_nothing_is_said_twice(run: Runs, rows: Path, learned: str) -> None:
    """With no_repeat_ngram_size 1, no text has a word twice."""
    flags: dict[str, Any] = {"model_name_or_path": learned, "min_length": LONGEST}
    free = written(run, rows, **flags)
    held = written(run, rows, no_repeat_ngram_size=1, **flags)
    assert any(map(repeats, texts(free))), "nothing repeats: this proves nothing"
    assert not any(map(repeats, texts(held)))


def repeats(text: str) -> bool:
    words = text.split()
    return len(set(words)) < len(words)


@law("generation.own-settings", profiles=FLOAT)
def test_the_model_s_own_settings_hold(
    run: Runs, rows: Path, learned: str, tmp_path: Path
) -> None:
    """Without a flag the model's generation_config.json decides; a flag wins."""
    asked: dict[str, Any] = {"num_beams": 3, "no_repeat_ngram_size": 1, "min_length": 9}
    model = shutil.copytree(learned, tmp_path / "model")
    file = model / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | asked), "utf-8")
    by_flags = written(run, rows, model_name_or_path=learned, **asked)
    by_file = written(run, rows, model_name_or_path=str(model))
    plain = {"num_beams": 1, "no_repeat_ngram_size": 0, "min_length": 0}
    flags_win = written(run, rows, model_name_or_path=str(model), **plain)
    without = written(run, rows, model_name_or_path=learned)
    assert texts(by_file) == texts(by_flags)
    assert texts(flags_win) == texts(without) != texts(by_file)


@law("generation.search", profiles=FLOAT)
def test_a_search_is_the_one_asked_for(run: Runs, rows: Path, learned: str) -> None:
    """A beam search ends, and weighs lengths, as it is told to."""
    flags: dict[str, Any] = {"model_name_or_path": learned, "num_beams": 4}
    short = written(run, rows, length_penalty=-8.0, early_stopping="never", **flags)
    long = written(run, rows, length_penalty=8.0, early_stopping="never", **flags)
    first = written(run, rows, length_penalty=8.0, early_stopping="true", **flags)
    lengths = [made.report.metrics["predict_gen_len"] for made in (short, first, long)]
    assert lengths[0] < lengths[2], "length_penalty above 0 favours longer texts"
    assert lengths[1] < lengths[2], "a search that ends early finds no longer text"


@law("generation.batch", profiles=FLOAT)
def test_a_text_is_its_row_s_alone(run: Runs, rows: Path, learned: str) -> None:
    """A row's text depends on no other row of its batch, and on no padding."""
    flags: dict[str, Any] = {"model_name_or_path": learned, "num_beams": 2}
    alone = written(run, rows, per_device_eval_batch_size=1, **flags)
    together = written(
        run, rows, per_device_eval_batch_size=5, pad_to_max_length=True, **flags
    )
    assert len(set(texts(alone))) == 5, "one text for all rows proves nothing"
    assert texts(together) == texts(alone)


@law("generation.any-order", profiles=FLOAT)
@for_all(turned=st.permutations(range(5)).map(lambda rows: rows[::-1]))
def test_texts_follow_their_rows(
    run: Runs, folder: Path, rows: Path, learned: str, turned: list[int]
) -> None:
    """Rows in any order are given the same texts, in that order."""
    lines = rows.read_text("utf-8").splitlines(keepends=True)
    name = f"{''.join(map(str, turned))}.jsonl"
    moved = write_text(folder / name, "".join(lines[row] for row in turned))
    expected = texts(written(run, rows, model_name_or_path=learned))
    found = texts(written(run, moved, model_name_or_path=learned))
    assert found == [expected[row] for row in turned]


@law("generation.scores", profiles=FLOAT)
def test_scores_are_those_of_the_texts(run: Runs, rows: Path, learned: str) -> None:
    """ROUGE is that of the texts that were written, on a scale of 100."""
    made = written(run, rows, model_name_or_path=learned)
    kinds = ("rouge1", "rouge2", "rougeL")
    scorer = RougeScorer(kinds, use_stemmer=True)
    lines = rows.read_text("utf-8").splitlines()
    scores = [
        scorer.score(json.loads(line)["summary"], text)
        for line, text in zip(lines, texts(made), strict=True)
    ]
    for kind in kinds:
        mean = 100 * sum(score[kind].fmeasure for score in scores) / len(scores)
        found = made.report.metrics[f"predict_{kind}"]
        assert found == pytest.approx(mean, abs=1e-4), kind
    assert made.report.metrics["predict_rouge1"] > 0, "nothing in common to score"


@law("generation.evaluation", profiles=FLOAT)
def test_evaluating_and_predicting_are_one(run: Runs, rows: Path, learned: str) -> None:
    """The same rows have the same loss and scores as validation and as test rows."""
    made = written(
        run,
        rows,
        model_name_or_path=learned,
        do_eval=True,
        validation_file=str(rows),
        max_eval_samples=None,
    )
    metrics = made.report.metrics
    for name in ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum", "gen_len"):
        assert metrics[f"eval_{name}"] == metrics[f"predict_{name}"], name
