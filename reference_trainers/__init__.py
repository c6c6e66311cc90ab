"""Reference trainers: one spec, any framework, the same run.

Below, by name, is all that a trainer or backend of your own, the conformance suite and
the benchmarks may use. Each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_trainers.cli import flags_of_dict, parse
    from reference_trainers.data.batches import Arrays, Batch, GlobalBatch, Rows
    from reference_trainers.errors import InputError, TrainingStopped
    from reference_trainers.loop import after_update
    from reference_trainers.models.generation import GenerationSettings
    from reference_trainers.models.source import ModelSource
    from reference_trainers.protocols import Backend, Hooks, State, Trainer, Update
    from reference_trainers.recipe.plan import Padding, Plan
    from reference_trainers.registry import (
        ORACLE,
        SharedTrainer,
        find_trainer,
        listed,
        refusals_of,
    )
    from reference_trainers.results import RunReport, SplitReport, StepRecord
    from reference_trainers.spec import SECRETS, TrainingSpec
    from reference_trainers.world import World

_HOMES = {
    "cli": ("flags_of_dict", "parse"),
    "data.batches": ("Arrays", "Batch", "GlobalBatch", "Rows"),
    "errors": ("InputError", "TrainingStopped"),
    "loop": ("after_update",),
    "models.generation": ("GenerationSettings",),
    "models.source": ("ModelSource",),
    "protocols": ("Backend", "Hooks", "State", "Trainer", "Update"),
    "recipe.plan": ("Padding", "Plan"),
    "registry": ("ORACLE", "SharedTrainer", "find_trainer", "listed", "refusals_of"),
    "results": ("RunReport", "SplitReport", "StepRecord"),
    "spec": ("SECRETS", "TrainingSpec"),
    "world": ("World",),
}

__all__ = [
    "ORACLE",
    "SECRETS",
    "Arrays",
    "Backend",
    "Batch",
    "GenerationSettings",
    "GlobalBatch",
    "Hooks",
    "InputError",
    "ModelSource",
    "Padding",
    "Plan",
    "Rows",
    "RunReport",
    "SharedTrainer",
    "SplitReport",
    "State",
    "StepRecord",
    "Trainer",
    "TrainingSpec",
    "TrainingStopped",
    "Update",
    "World",
    "after_update",
    "find_trainer",
    "flags_of_dict",
    "listed",
    "parse",
    "refusals_of",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
