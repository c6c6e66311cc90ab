"""ROUGE, against rouge_score itself; nothing is downloaded."""

from __future__ import annotations

import socket

import pytest
from rouge_score.rouge_scorer import RougeScorer

from reference_trainers.report.rouge import KINDS, Rouge, one_sentence_per_line

PAIRS = [
    ("The cats were running. They ran far.", "A cat runs. It ran very far away."),
    ("Nothing in common", "entirely other words"),
    ("The same words.", "The same words."),
    ("", "An empty prediction."),
    ("First this. Then that! And so?", "Then that! First this. And so on."),
    ("Zürich is a city", "Zürich, the city"),
]


def scored(pairs):
    rouge = Rouge()
    for prediction, reference in pairs:
        rouge.add(prediction, reference)
    return rouge.scores()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("ROUGE looks for a network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_scores_are_means_of_rouge_score():
    """With the stemmer, a sentence a line, in percent, as the old scripts did it."""
    scorer = RougeScorer(KINDS, use_stemmer=True)
    each = [
        scorer.score(
            one_sentence_per_line(reference), one_sentence_per_line(prediction)
        )
        for prediction, reference in PAIRS
    ]
    expected = {
        kind: round(100 * sum(one[kind].fmeasure for one in each) / len(PAIRS), 4)
        for kind in KINDS
    }
    assert scored(PAIRS) == expected
    assert 0 < expected["rouge2"] < expected["rouge1"] < 100


def test_words_are_stemmed():
    assert scored([("The cat runs", "the cats running")])["rouge1"] == 100


def test_hand_counted():
    # 3 of 4 words each way; 1 of 3 pairs; the longest common sequence has 3 words
    found = scored([("a b c d", "a b x d")])
    assert found == {"rouge1": 75, "rouge2": 33.3333, "rougeL": 75, "rougeLsum": 75}


def test_sum_looks_at_sentences():
    """rougeLsum takes a union over sentences; rougeL one sequence over all."""
    turned = scored(
        [("One two three. Four five six.", "Four five six. One two three.")]
    )
    assert turned["rougeLsum"] == 100
    assert turned["rougeL"] == 50


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", 3),
        ("  No end ", 1),
        ("It costs 3.50 at noon. Then more.", 2),
        ("", 0),
    ],
)
def test_one_sentence_per_line(text, sentences):
    lines = one_sentence_per_line(text).splitlines()
    assert len(lines) == sentences
    assert " ".join(lines) == text.strip()


def test_nothing_to_score_is_zero():
    assert scored([]) == dict.fromkeys(KINDS, 0.0)
