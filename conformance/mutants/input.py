"""Mutants that do not refuse what they cannot do, or do not say what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from conformance.mutants.planted import QUICK, T5, planted
from reference_trainers import InputError, RunReport, TrainingSpec, find_trainer


class TakesAll:
    """Says what it refuses, and takes it."""

    caught_by = ("input.refuses",)
    name = "numpy"
    refuses: Mapping[str, str] = MappingProxyType({"fp16": "--fp16: it has no half."})

    @staticmethod
    def run(spec: TrainingSpec) -> RunReport:
        return find_trainer(QUICK).run(spec)


class Forgives:
    """Ends well where there is nothing to do or nothing to read."""

    caught_by = ("input.missing-file", "input.no-rows", "input.nothing-to-do")
    name = "numpy"

    @staticmethod
    def run(spec: TrainingSpec) -> RunReport:
        try:
            return find_trainer(QUICK).run(spec)
        except InputError:
            return RunReport("numpy", spec.as_dict(), spec.hash)


@planted(
    "reference_trainers.life.run.load_model", caught_by=("input.bad-model",), of=T5
)
def says_little_of_a_model(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Says that a model is bad, and not which."""

    def load_model(spec: TrainingSpec) -> Any:
        try:
            return sound(spec)
        except InputError:
            raise InputError("--model_name_or_path: the model is bad.") from None

    return load_model


@planted(
    "reference_trainers.life.run.output_folder", caught_by=("input.output-folder",)
)
def writes_elsewhere(sound: Callable[..., Path]) -> Callable[..., Path]:
    """Writes beside an output folder that is a file."""

    def output_folder(spec: TrainingSpec) -> Path:
        folder = sound(spec)
        beside = folder.parent if folder.parent.is_file() else folder
        return beside.with_name("another") if beside.is_file() else folder

    return output_folder


@planted(
    "reference_trainers.life.run.start_of",
    caught_by=("input.occupied-folder", "resume.finished", "resume.by-itself"),
)
def always_begins(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Begins anew in whatever folder it is given."""

    def start_of(spec: TrainingSpec, claim: Any) -> Any:
        return sound(replace(spec, overwrite_output_dir=True), claim)

    return start_of
