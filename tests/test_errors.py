"""A library's message becomes one sentence."""

from __future__ import annotations

import pytest

from reference_trainers.errors import (
    LONGEST,
    LONGEST_LINE,
    InputError,
    line_of,
    one_line,
    sentence_of,
)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("no such thing", "no such thing."),
        ("Ends well.\n", "Ends well."),
        ("while parsing\n  expected a value\n  in line 1", None),
        ("", "ValueError without a message."),
    ],
)
def test_a_message_is_a_sentence(message, sentence):
    expected = sentence or "while parsing expected a value in line 1."
    assert sentence_of(ValueError(message)) == expected


def test_a_page_is_cut():
    said = sentence_of(ValueError("word " * 1000))
    assert len(said) <= LONGEST + 1
    assert "\n" not in said and said.endswith("word [...].")


def test_a_missing_key_is_said_to_be_missing():
    assert sentence_of(KeyError("d_model")) == "'d_model' is missing or unknown."
    assert sentence_of(KeyError("no field x")) == "no field x."


def test_what_a_user_named_breaks_no_line():
    assert line_of(InputError("a\nb\u2028c: no such folder.")) == (
        "a\\nb\\u2028c: no such folder."
    )


def test_a_long_value_is_cut_out_of_the_middle():
    line = line_of(InputError(f"--seed {'9' * 100_000}: give a whole number."))
    assert len(line) < LONGEST_LINE + 10
    assert line.startswith("--seed 999") and line.endswith(" give a whole number.")


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\nb", "a\rb", "\n", "a\u2028b\x85c\x0bd\x1e"]
)
def test_a_prediction_is_one_line(text):
    line = one_line(text)
    assert len((line + "\n").splitlines()) == 1
    assert "a" not in text or line.startswith("a\\")


@pytest.mark.parametrize(
    "text", ["", "plain", "tab\there", "a \\n that was typed", "ü 🙂"]
)
def test_what_breaks_no_line_stays(text):
    assert one_line(text) == text
