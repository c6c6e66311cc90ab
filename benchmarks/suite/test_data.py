"""A file becomes tokens: code that is the same for every trainer."""

from __future__ import annotations

from pathlib import Path

from benchmarks.door import Workshop
from benchmarks.measure import Effort, measure_calls
from benchmarks.shapes import Shape, texts_of
from benchmarks.suite.conftest import Record
from benchmarks.suite.test_training import lengths_in_tokens, written
from reference_trainers import load_model, load_rows

ROWS = 512


def test_tokenizing(
    workshop: Workshop,
    shape: Shape,
    lengths: str,
    few: Effort,
    record: Record,
    tmp_path: Path,
) -> None:
    """Rows of a CSV file are read and tokenized, and nothing is taken from a cache."""
    source = load_model(workshop.spec(shape))
    texts = texts_of(source.tokenizer, shape, lengths == "ragged", ROWS)
    file = written(tmp_path / "train.csv", texts)
    spec = workshop.spec(shape, train_file=str(file), overwrite_cache=True)

    def tokenize() -> int:
        return load_rows(spec, source.tokenizer)["train"].report.rows

    tokens = lengths_in_tokens(source.tokenizer, shape, texts)
    measured = measure_calls(tokenize, tokens, few, tools=workshop.tools)
    assert measured.rows_seen == ROWS * len(measured.seconds)
    record("tokenizing", measured)
