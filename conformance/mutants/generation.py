"""Mutants whose texts, or scores, are other ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from conformance.mutants.planted import T5, planted
from reference_trainers import GenerationSettings, TrainingSpec

SETTINGS = "reference_trainers.report.evaluation.generation_settings"
Settings = Callable[..., GenerationSettings | None]


def with_settings(**changed: Any) -> Callable[[Settings], Settings]:
    """Generates with some of the settings changed."""

    def fault(sound: Settings) -> Settings:
        def settings(*given: Any) -> GenerationSettings | None:
            found = sound(*given)
            return found and replace(found, **changed)

        return settings

    return fault


def searching(law: str, **changed: Any) -> Any:
    return planted(SETTINGS, caught_by=(law,), of=T5)(with_settings(**changed))


never_longer_than_twenty = searching("generation.longest", max_length=20)
ends_when_it_likes = searching("generation.shortest", min_length=0)
repeats_itself = searching("generation.no-repeats", no_repeat_ngram_size=0)


@planted(SETTINGS, caught_by=("generation.own-settings",), of=T5)
def ignores_the_model(sound: Settings) -> Settings:
    """What is no flag is the library's default."""

    def settings(spec: TrainingSpec, own: Any, config: Any) -> Any:
        plain = type(own)(**{n: getattr(own, n) for n in vars(own) if "token" in n})
        return sound(spec, plain, config)

    return settings


@planted(
    "reference_trainers.report.evaluation.in_order",
    caught_by=("generation.any-order",),
)
def longest_first(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves rows as they were sorted, by length."""
    return lambda answers: answers


@planted(
    "reference_trainers.report.rouge.Rouge.scores", caught_by=("generation.scores",)
)
def scores_of_one(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Scores lie between 0 and 1, as rouge_score gives them."""
    return lambda rouge: {kind: score / 100 for kind, score in sound(rouge).items()}


@planted("reference_trainers.life.run.evaluate", caught_by=("generation.evaluation",))
def evaluates_the_first_rows(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Judges the validation rows by half of them."""

    def evaluate(backend: Any, split: Any, prefix: str, *rest: Any) -> Any:
        if prefix == "eval":
            half = split.rows.select(range((len(split.rows) + 1) // 2))
            split = replace(split, rows=half)
        return sound(backend, split, prefix, *rest)

    return evaluate
