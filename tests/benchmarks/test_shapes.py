"""Made-up rows have the lengths that their shape says, whoever asks and when."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="not run: scipy is not installed")

from benchmarks.shapes import SHAPES, MadeUpRows, model_shape, texts_of
from reference_trainers import TrainingSpec, load_model

SMALL = SHAPES["t5-small"]
PIECES = 300


def test_ragged_rows_are_as_long_as_abstracts():
    rows = MadeUpRows(SMALL, True, 2000, PIECES)[range(2000)]
    for name, shortest, longest in (("input_ids", 100, 300), ("labels", 20, 60)):
        lengths = [*map(len, rows[name])]
        assert (min(lengths), max(lengths)) == (shortest, longest)
        assert np.mean(lengths) == pytest.approx((shortest + longest) / 2, rel=0.03)


def test_full_rows_leave_no_padding():
    rows = MadeUpRows(SMALL, False, 9, PIECES)[[8, 2]]
    assert {*map(len, rows["input_ids"])} == {512} and rows["row"] == [8, 2]
    assert {*map(len, rows["labels"])} == {128}


def test_a_row_is_a_function_of_its_number():
    few = MadeUpRows(SMALL, True, 5, PIECES)[[3]]
    assert few == MadeUpRows(SMALL, True, 50, PIECES)[[3]]
    (ids,) = few["input_ids"]
    assert ids[-1] == 1 and set(ids[:-1]) <= {*range(3, PIECES)}


def test_another_batch_is_of_the_same_rows():
    many = SMALL.with_batch(16)
    assert (SMALL.title, many.title) == ("t5-small", "t5-small-of-16")
    assert many.name == SMALL.name
    few, more = (MadeUpRows(each, True, 9, PIECES) for each in (SMALL, many))
    assert few[[0, 7]] == more[[0, 7]]


def test_the_tiny_model_and_its_texts(tmp_path):
    shape = SHAPES["tiny"]
    spec = TrainingSpec(model_name_or_path=str(shape.build(tmp_path)))
    source = load_model(spec)
    assert source.config.dropout_rate == 0.1  # as T5 ships
    assert model_shape(source.config).inner == 32
    texts = texts_of(source.tokenizer, shape, True, 40)
    for row, text in enumerate(texts):
        wanted = shape.lengths(True, row)
        found = [len(source.tokenizer(text[name])["input_ids"]) for name in text]
        # The last word may go beyond by a few pieces
        pairs = zip(found, wanted, strict=True)
        assert all(0 <= have - want < 8 for have, want in pairs), (found, wanted)


def test_small_is_t5_small():
    from transformers import T5Config

    own = model_shape(T5Config())
    assert (own.d_model, own.d_ff, own.num_heads, own.d_kv) == (512, 2048, 8, 64)
    assert (own.num_layers, own.num_decoder_layers, own.vocab_size) == (6, 6, 32128)
