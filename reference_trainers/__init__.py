"""Reference trainers: one spec, any framework, the same run.

Below, by name, is all that a trainer or backend of your own, the conformance suite and
the benchmarks may use. Each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference_trainers.checkpoints.manifest import verify_checkpoint
    from reference_trainers.checkpoints.read import read_checkpoint
    from reference_trainers.checkpoints.write import write_checkpoint
    from reference_trainers.cli import (
        TRACEBACK_HELP,
        OneSentenceParser,
        exit_with,
        parse,
    )
    from reference_trainers.data.batches import (
        Arrays,
        Batch,
        GlobalBatch,
        Rows,
        eval_batches,
    )
    from reference_trainers.data.rows import load_rows
    from reference_trainers.errors import InputError, ProcessLost, TrainingStopped
    from reference_trainers.files import files_in, write_whole
    from reference_trainers.hub.sharing import push_folder
    from reference_trainers.loop import after_update, fit
    from reference_trainers.models.generation import GenerationSettings
    from reference_trainers.models.source import ModelSource, load_model
    from reference_trainers.protocols import (
        Backend,
        BareStep,
        Floor,
        Hooks,
        State,
        Trainer,
        Update,
    )
    from reference_trainers.recipe.loss_scale import LossScale
    from reference_trainers.recipe.plan import Padding, Plan, plan_of
    from reference_trainers.recipe.sampling import rows_at
    from reference_trainers.recipe.schedule import learning_rate, total_steps
    from reference_trainers.registry import (
        ORACLE,
        Listed,
        SharedTrainer,
        find_trainer,
        listed,
        refusals_of,
    )
    from reference_trainers.results import (
        PREDICTIONS_JSONL,
        REPORT_FILE,
        SCHEMA,
        RunReport,
        SplitReport,
        StepRecord,
        json_text,
    )
    from reference_trainers.spec import SECRETS, TrainingSpec
    from reference_trainers.spec_file import flags_of_dict
    from reference_trainers.world import World, world_of

_HOMES = {
    "checkpoints.manifest": ("verify_checkpoint",),
    "checkpoints.read": ("read_checkpoint",),
    "checkpoints.write": ("write_checkpoint",),
    "cli": ("TRACEBACK_HELP", "OneSentenceParser", "exit_with", "parse"),
    "data.batches": ("Arrays", "Batch", "GlobalBatch", "Rows", "eval_batches"),
    "data.rows": ("load_rows",),
    "errors": ("InputError", "ProcessLost", "TrainingStopped"),
    "files": ("files_in", "write_whole"),
    "hub.sharing": ("push_folder",),
    "loop": ("after_update", "fit"),
    "models.generation": ("GenerationSettings",),
    "models.source": ("ModelSource", "load_model"),
    "protocols": (
        "Backend",
        "BareStep",
        "Floor",
        "Hooks",
        "State",
        "Trainer",
        "Update",
    ),
    "recipe.loss_scale": ("LossScale",),
    "recipe.plan": ("Padding", "Plan", "plan_of"),
    "recipe.sampling": ("rows_at",),
    "recipe.schedule": ("learning_rate", "total_steps"),
    "registry": (
        "Listed",
        "ORACLE",
        "SharedTrainer",
        "find_trainer",
        "listed",
        "refusals_of",
    ),
    "results": (
        "PREDICTIONS_JSONL",
        "REPORT_FILE",
        "RunReport",
        "SCHEMA",
        "SplitReport",
        "StepRecord",
        "json_text",
    ),
    "spec": ("SECRETS", "TrainingSpec"),
    "spec_file": ("flags_of_dict",),
    "world": ("World", "world_of"),
}

__all__ = [
    "ORACLE",
    "PREDICTIONS_JSONL",
    "REPORT_FILE",
    "SCHEMA",
    "SECRETS",
    "TRACEBACK_HELP",
    "Arrays",
    "Backend",
    "BareStep",
    "Batch",
    "Floor",
    "GenerationSettings",
    "GlobalBatch",
    "Hooks",
    "InputError",
    "Listed",
    "LossScale",
    "ModelSource",
    "OneSentenceParser",
    "Padding",
    "Plan",
    "ProcessLost",
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
    "eval_batches",
    "exit_with",
    "files_in",
    "find_trainer",
    "fit",
    "flags_of_dict",
    "json_text",
    "learning_rate",
    "listed",
    "load_model",
    "load_rows",
    "parse",
    "plan_of",
    "push_folder",
    "read_checkpoint",
    "refusals_of",
    "rows_at",
    "total_steps",
    "verify_checkpoint",
    "world_of",
    "write_checkpoint",
    "write_whole",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
