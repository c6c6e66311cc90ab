"""ROUGE, as transformers' summarization scripts compute it."""

from __future__ import annotations

from functools import cache
from typing import Any

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@cache
def _sentences() -> Any:
    # nltk imports scipy.stats, a second that a run without texts need not wait for
    from nltk.tokenize import PunktSentenceTokenizer

    # The scripts download English Punkt parameters; its rules alone need no download
    return PunktSentenceTokenizer()


def one_sentence_per_line(text: str) -> str:
    """What rougeLsum wants: the sentences of a text, a line each."""
    return "\n".join(_sentences().tokenize(text.strip()))


class Rouge:
    """Mean F-measure over pairs of texts; adds up, so it holds no text."""

    def __init__(self) -> None:
        from rouge_score.rouge_scorer import RougeScorer  # imports nltk

        self._scorer: Any = RougeScorer(KINDS, use_stemmer=True)
        self._sums = dict.fromkeys(KINDS, 0.0)
        self._pairs = 0

    def add(self, prediction: str, reference: str) -> None:
        scores = self._scorer.score(
            one_sentence_per_line(reference), one_sentence_per_line(prediction)
        )
        for kind in KINDS:
            self._sums[kind] += scores[kind].fmeasure
        self._pairs += 1

    def scores(self) -> dict[str, float]:
        """In percent, to four decimals, as the scripts print them."""
        pairs = max(1, self._pairs)
        return {kind: round(100 * self._sums[kind] / pairs, 4) for kind in KINDS}
