"""Mutants that share something else, or do not say that they failed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.mutants.planted import planted
from reference_trainers import TrainingSpec

SHARING = "reference_trainers.hub.sharing.Sharing"


@planted(f"{SHARING}.saved", caught_by=("hub.one-commit",))
def pushes_the_last_save_too(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Makes two commits of the end."""
    return lambda sharing, folder, step, is_last: sound(sharing, folder, step, False)


@planted(f"{SHARING}.saved", caught_by=("hub.saves",))
def pushes_the_end_alone(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Accepts hub_strategy and ignores it."""
    return lambda *save: None


@planted(f"{SHARING}._ended", caught_by=("hub.faults",))
def hides_a_failure(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Takes every push for made."""
    well = {"url": "nowhere", "commit": "none"}
    return lambda sharing, push, answer: sound(sharing, push, well)


@planted("reference_trainers.life.run.check_sharing", caught_by=("hub.refused",))
def asks_when_it_is_done(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Trains for hours before it finds that it may not push."""

    def check_sharing(spec: TrainingSpec, published: Any) -> str:
        return spec.hub_model_id or "user/mine"

    return check_sharing
