"""A library's message becomes one sentence."""

from __future__ import annotations

import pytest

from reference_trainers.errors import LONGEST, sentence_of


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("no such thing", "no such thing."),
        ("Ends well.\n", "Ends well."),
        ("while parsing\n  expected a value\n  in line 1", None),
        ("", "ValueError."),
    ],
)
def test_a_message_is_a_sentence(message, sentence):
    expected = sentence or "while parsing expected a value in line 1."
    assert sentence_of(ValueError(message)) == expected


def test_a_page_is_cut():
    said = sentence_of(ValueError("word " * 1000))
    assert len(said) <= LONGEST + 1
    assert "\n" not in said and said.endswith("word [...].")
