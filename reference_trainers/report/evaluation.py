"""Loss over a whole split, and the summaries generated for it with their ROUGE."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reference_trainers.data.batches import NO_TARGET, Batch, eval_batches
from reference_trainers.data.rows import Split
from reference_trainers.errors import one_line
from reference_trainers.models.generation import (
    GenerationSettings,
    generation_settings,
)
from reference_trainers.models.source import ModelSource
from reference_trainers.processes import share
from reference_trainers.processes.group import Group
from reference_trainers.protocols import Backend
from reference_trainers.recipe.plan import Padding
from reference_trainers.report.clock import Clock
from reference_trainers.report.progress import progress_bar, say
from reference_trainers.report.rouge import Rouge
from reference_trainers.results import PREDICTIONS_FILE, PREDICTIONS_JSONL
from reference_trainers.spec import TrainingSpec


class EvaluationLeft(Exception):
    """A stop was asked for: the evaluation under way has no result."""

    def __init__(self, exit_status: int):
        super().__init__()
        self.exit_status = exit_status


@dataclass(frozen=True)
class EvaluationSettings:
    """How a split is evaluated; made once a run."""

    tokenizer: Any
    padding: Padding
    batch_size: int
    """Rows of all devices together."""
    generation: GenerationSettings | None
    """None: loss only."""
    quiet: bool
    group: Group
    """The processes that share out each batch."""
    asked_to_stop: Callable[[], int | None] = lambda: None
    """Asked before every batch: the exit status that a signal wants, if one came."""


def evaluation_settings(
    spec: TrainingSpec,
    source: ModelSource,
    backend: Backend,
    group: Group,
    asked_to_stop: Callable[[], int | None],
) -> EvaluationSettings:
    """How every split is evaluated, while training and after it."""
    return EvaluationSettings(
        tokenizer=source.tokenizer,
        padding=source.padding(spec, backend, spec.longest_generation),
        batch_size=spec.per_device_eval_batch_size * backend.devices,
        generation=generation_settings(spec, source.generation_config, source.config),
        quiet=spec.disable_tqdm,
        group=group,
        asked_to_stop=asked_to_stop,
    )


def evaluate(
    backend: Backend,
    split: Split,
    prefix: str,
    settings: EvaluationSettings,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """Metrics with their prefix; the generated texts go into the folder `predictions`.

    The loss is the summed token loss over the tokens of the whole split; None where it
    is not finite, which JSON can't say. Raises `EvaluationLeft`.
    """
    clock = Clock()
    loss, tokens, lengths = 0.0, 0, 0
    answers: list[Answer] = []
    batches = eval_batches(split.rows, settings.batch_size, settings.padding)
    total = math.ceil(len(split.rows) / settings.batch_size)
    for row_ids, batch in progress_bar(batches, total, prefix, settings.quiet):
        exit_status = settings.asked_to_stop()
        if exit_status is not None:
            raise EvaluationLeft(exit_status)
        batch_loss, batch_tokens = share.evaluate(backend, settings.group, batch)
        loss, tokens = loss + batch_loss, tokens + batch_tokens
        if settings.generation is None:
            continue
        generated = _answers(backend, batch, settings.generation, settings.group)
        lengths += int((generated != settings.generation.pad_token_id).sum())
        labels = batch.arrays.labels[: batch.rows]
        labels = np.where(labels == NO_TARGET, settings.generation.pad_token_id, labels)
        texts = _decoded(settings.tokenizer, generated)
        references = _decoded(settings.tokenizer, labels)
        answers += map(Answer, row_ids.tolist(), texts, references)
    answers = in_order(answers)
    if predictions is not None:
        write_predictions(answers, predictions)
    finite = math.isfinite(loss)
    if not finite:
        say(f"{prefix}_loss is {loss:g}: it is left out, and is never the best.")
    metrics: dict[str, Any] = {"loss": loss / max(1, tokens) if finite else None}
    if settings.generation is not None:
        rouge = Rouge()
        for answer in answers:
            rouge.add(answer.text, answer.reference)
        metrics |= rouge.scores()
        metrics["gen_len"] = round(float(lengths) / len(split.rows), 4)
    seconds = clock.elapsed()
    metrics |= {
        "runtime": round(seconds, 4),
        "samples": len(split.rows),
        "samples_per_second": round(len(split.rows) / seconds, 3),
        "steps_per_second": round(total / seconds, 3),
    }
    return {f"{prefix}_{name}": value for name, value in metrics.items()}


def _answers(
    backend: Backend, batch: Batch, settings: GenerationSettings, group: Group
) -> np.ndarray:
    """Token ids (rows, length); no search is asked for the start token alone."""
    if settings.max_length == 1:
        return np.full((batch.rows, 1), settings.decoder_start_token_id)
    return share.generate(backend, group, batch, settings)


def _decoded(tokenizer: Any, tokens: np.ndarray) -> list[str]:
    texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in texts]


class Answer(NamedTuple):
    """What was generated for a row."""

    row: int
    """Its number in its file, from 0."""
    text: str
    reference: str


def in_order(answers: list[Answer]) -> list[Answer]:
    """As their rows stand in the file: batches take rows of a length together."""
    return sorted(answers)


def write_predictions(answers: list[Answer], folder: Path) -> None:
    """The two files of predictions."""
    plain = [one_line(answer.text) for answer in answers]
    rich = [one_line(_record(answer)) for answer in answers]
    for name, lines in ((PREDICTIONS_FILE, plain), (PREDICTIONS_JSONL, rich)):
        text = "".join(f"{line}\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _record(answer: Answer) -> str:
    row, text, reference = answer
    record = {"row": row, "prediction": text, "reference": reference}
    return json.dumps(record, ensure_ascii=False)
