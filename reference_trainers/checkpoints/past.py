"""What a run that resumes is told of the one before, checked: a file may say anything.

A digest says that a file is as it was written, not who wrote it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from reference_trainers.report.record import MAY_CHANGE
from reference_trainers.results import StepRecord, json_text, require_types

NOT_SO = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What the two below raise of a text that no trainer has written."""


@dataclass(frozen=True)
class TrainerState:
    """What is taken of trainer_state.json, which any trainer may have written."""

    log_history: list[dict[str, Any]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None


@dataclass(frozen=True)
class Past:
    """What `Record.past` says."""

    recipe: dict[str, Any]
    changes: list[dict[str, Any]]
    steps: list[StepRecord]
    logged: int
    evaluations: list[dict[str, Any]]
    event_files: list[str]


def trainer_state_of(text: str) -> dict[str, Any]:
    """All of trainer_state.json."""
    content = json.loads(text)
    known = {flag.name for flag in fields(TrainerState)} & content.keys()
    require_types(TrainerState(**{name: content[name] for name in known}))
    return content


def past_of(text: str) -> dict[str, Any]:
    """`Record.past`, with its steps as records."""
    content = json.loads(text)
    json_text({**content, "steps": None})  # the report of a run takes no NaN
    past = Past(**{**content, "steps": [*map(StepRecord.of, content["steps"])]})
    for part in (past, *past.steps):
        require_types(part)
    if unknown := past.recipe.keys() - {*MAY_CHANGE}:
        raise ValueError(f"{min(unknown)} is in recipe")
    for change in (*past.evaluations, *past.changes):
        if type(change["step"]) is not int:
            raise TypeError(f"step is {change['step']}")
    for change in past.changes:
        for name, both in change.items():
            if name != "step" and not (isinstance(both, list) and len(both) == 2):
                raise ValueError(f"{name} is {both} in changes")
    return vars(past)
