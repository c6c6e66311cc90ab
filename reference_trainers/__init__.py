"""Reference trainers: one spec, any framework, the same run.

Below, by name, is all that a trainer or backend of your own, the conformance suite and
the benchmarks may use. Each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_trainers.cli import flags_of_dict, parse
    from reference_trainers.data.batches import Batch, GlobalBatch
    from reference_trainers.errors import InputError, TrainingStopped
    from reference_trainers.models.generation import GenerationSettings
    from reference_trainers.models.source import ModelSource
    from reference_trainers.protocols import Backend, State, Trainer, Update
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

_HOMES = {
    "cli": ("flags_of_dict", "parse"),
    "data.batches": ("Batch", "GlobalBatch"),
    "errors": ("InputError", "TrainingStopped"),
    "models.generation": ("GenerationSettings",),
    "models.source": ("ModelSource",),
    "protocols": ("Backend", "State", "Trainer", "Update"),
    "recipe.plan": ("Padding", "Plan"),
    "registry": ("ORACLE", "SharedTrainer", "find_trainer", "listed", "refusals_of"),
    "results": ("RunReport", "SplitReport", "StepRecord"),
    "spec": ("SECRETS", "TrainingSpec"),
}

__all__ = [
    "ORACLE",
    "SECRETS",
    "Backend",
    "Batch",
    "GenerationSettings",
    "GlobalBatch",
    "InputError",
    "ModelSource",
    "Padding",
    "Plan",
    "RunReport",
    "SharedTrainer",
    "SplitReport",
    "State",
    "StepRecord",
    "Trainer",
    "TrainingSpec",
    "TrainingStopped",
    "Update",
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
