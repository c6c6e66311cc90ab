"""Trainers: made of a backend, and found by name or by "package.module:attribute".

Imports no framework, and no library until a run has been refused nothing.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from reference_trainers.data.columns import check_columns
from reference_trainers.data.files import check_files
from reference_trainers.errors import InputError, sentence_of
from reference_trainers.libraries import (
    SUPPORTED,
    Library,
    libraries_of_all,
    libraries_of_extras,
)
from reference_trainers.report.stderr import import_noise_kept_off_stderr
from reference_trainers.spec import TrainingSpec
from reference_trainers.spec_rules import check_tpu
from reference_trainers.world import world_of

if TYPE_CHECKING:
    from reference_trainers.protocols import Backend, Floor, Trainer
    from reference_trainers.results import RunReport

GROUP = "reference_trainers.trainers"
ORACLE = "pytorch"  # transformers' own model and Trainer
# What a backend must say that it can do
UNTOLD = {
    "tpu": "--tpu: this trainer takes no TPU by its name; leave it out.",
    "fsdp": "--fsdp: this trainer keeps a whole model on each device; leave it out.",
}


@dataclass(frozen=True)
class SharedTrainer:
    """A trainer made of a backend and the shared life of a run."""

    name: str
    backend: str | type[Backend]
    """The class, or "module:attribute" of it: flags and files are checked before the
    framework is imported, which takes seconds."""
    trains_by_default: bool = False
    """Train and evaluate where no do_* flag is given (the Accelerate script)."""
    refuses: Mapping[str, str] = field(default_factory=lambda: UNTOLD)
    """By flag, the sentence that refuses a run which gives it a value."""
    floor: str | None = None
    """The module of its framework's bare steps, which benchmarks measure it against."""

    def run(self, spec: TrainingSpec) -> RunReport:
        """Runs `spec` and writes its output folder.

        Raises `InputError` for what the user can fix, `TrainingStopped` on a signal.
        """
        check_refusals(self, spec)
        if not spec.trains_evaluates_or_predicts:
            if not self.trains_by_default:
                raise InputError(
                    "There is nothing to do: give --do_train, --do_eval, --do_predict."
                )
            spec = replace(spec, do_train=True, do_eval=True)
        if world_of().size == 1:  # of several the first alone has to have the files
            check_files(spec)
            check_columns(spec)
        if spec.tpu is not None:  # before rows are fetched: it may not answer
            check_tpu(spec)
            self.backend_class().reach(spec)
        from reference_trainers.life.start import start  # here: it imports transformers

        return start(self.name, self.backend_class, spec)

    def backend_class(self) -> Any:
        """The class, which imports the framework; its noise is kept off stderr."""
        if isinstance(self.backend, str):
            with import_noise_kept_off_stderr():
                return pkgutil.resolve_name(self.backend)
        return self.backend

    def floor_module(self) -> Floor | None:
        """What `floor` names, which imports the framework; None: it names none."""
        if self.floor is None:
            return None
        with import_noise_kept_off_stderr():
            return pkgutil.resolve_name(self.floor)


def refusals_of(trainer: Trainer) -> Mapping[str, str]:
    """What a trainer refuses; one that does not say so refuses nothing."""
    return getattr(trainer, "refuses", {})


def check_refusals(trainer: Trainer, spec: TrainingSpec) -> None:
    """Raises `InputError` with the trainer's sentence for a flag it cannot honour."""
    defaults = {flag.name: flag.default for flag in fields(spec)}
    for name, sentence in refusals_of(trainer).items():
        if getattr(spec, name) != defaults[name]:
            raise InputError(sentence)


@dataclass(frozen=True)
class Listed:
    """What is known of a trainer before its framework is imported."""

    name: str
    runs_here: bool
    reason: str | None = None
    """Why it cannot run here, and the fix."""
    versions: dict[str, str] = field(default_factory=dict)
    """Those of its framework, as far as they are installed."""
    libraries: tuple[Library, ...] = ()
    """All that it needs: Python, what its package does, what its framework does."""


def listed() -> list[Listed]:
    """Every registered trainer by name, the one that others are held against first."""
    found = sorted(
        entry_points(group=GROUP), key=lambda entry: (entry.name != ORACLE, entry.name)
    )
    return [_with_those_of_all(entry, _listed(entry)) for entry in found]


def find_trainer(name: str) -> Trainer:
    """The trainer of that name.

    Raises `InputError` where there is none, or where a library that it needs is
    missing or older than the oldest supported.
    """
    if ":" in name:
        return _as_trainer(name, _imported(name, partial(pkgutil.resolve_name, name)))
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            reason = _listed(entry).reason
            if reason is not None:
                raise InputError(f"--trainer {name}: {reason}")
            return _as_trainer(name, _imported(name, entry.load))
    known = ", ".join(sorted(entry_points(group=GROUP).names))
    raise InputError(
        f"--trainer {name}: no such trainer; there are: {known}. "
        "Your own is named package.module:attribute."
    )


def _listed(entry: EntryPoint) -> Listed:
    """A trainer needs what the extra in its entry point's brackets asks for."""
    own = libraries_of_extras(entry.dist, entry.extras)
    versions = {library.name: library.here for library in own if library.here}
    problems = [library.problem for library in own if library.state != SUPPORTED]
    if not problems:
        return Listed(entry.name, True, None, versions, (*own,))
    assert entry.dist is not None
    extras = f"{entry.dist.name}[{','.join(entry.extras)}]"
    reason = f"{'; '.join(problems)}. Install it: pip install '{extras}'."
    return Listed(entry.name, False, reason, versions, (*own,))


def _with_those_of_all(entry: EntryPoint, trainer: Listed) -> Listed:
    """Apart: to read all their versions takes longer than a run should wait."""
    everyones = libraries_of_all(entry.dist)
    return replace(trainer, libraries=(*everyones, *trainer.libraries))


def _imported(name: str, imported: Callable[[], Any]) -> Any:
    try:
        with import_noise_kept_off_stderr():
            return imported()
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"--trainer {name}: cannot be imported: {sentence_of(error)}"
        ) from error


def _as_trainer(name: str, found: Any) -> Trainer:
    """A `Trainer` as it is; a `Backend` class in the shared life of a run."""
    if callable(getattr(found, "run", None)):
        return found
    if callable(getattr(found, "load", None)):
        return SharedTrainer(name, found)
    raise InputError(
        f"--trainer {name}: has neither run (a Trainer) nor load (a Backend)."
    )
