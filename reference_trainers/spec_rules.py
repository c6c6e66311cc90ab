"""What a spec may hold: the kind and the bounds of each flag, and what excludes what.

Below `spec`, so that a spec made in Python is refused as one from a command line is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from reference_trainers.errors import InputError
from reference_trainers.flags import GROUPS, GenerationFlags, HubFlags

if TYPE_CHECKING:
    from reference_trainers.spec import TrainingSpec

LARGEST = 2**31 - 1  # what every tokenizer, framework and random generator takes
ADAMW = ("adamw_torch", "adamw_torch_fused", "adamw")
SPELLINGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


@dataclass(frozen=True)
class Kind:
    """What values a flag takes."""

    type: type
    optional: bool = False
    """None is a value too: the default."""
    choices: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        if value is None:
            return self.optional
        if self.choices:
            return value in self.choices
        if isinstance(value, bool):
            return self.type is bool
        return isinstance(value, (int, float) if self.type is float else self.type)

    def read(self, text: str) -> Any:
        """The value of a text; the text itself where it is no value."""
        if self.choices:
            return text.lower()
        if self.type is bool:
            return SPELLINGS.get(text.lower(), text)
        try:
            return self.type(text)
        except ValueError:
            return text

    def __str__(self) -> str:
        return listed(self.choices, "or") if self.choices else WORDS[self.type]


@cache
def kinds() -> Mapping[str, Kind]:
    """Of every flag, from its annotation."""
    return {
        name: _kind(hint)
        for group in GROUPS
        for name, hint in get_type_hints(group).items()
    }


def _kind(hint: Any) -> Kind:
    optional = isinstance(hint, UnionType) or type(None) in get_args(hint)
    if optional:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is Literal:
        return Kind(str, optional, get_args(hint))
    return Kind(hint, optional)


def listed(names: tuple[str, ...], word: str) -> str:
    """``a, b or c``"""
    *most, last = names
    return f"{', '.join(most)} {word} {last}" if most else last


def check(spec: TrainingSpec) -> None:
    """Raises `InputError` for what no trainer could make sense of."""
    for flag in fields(spec):
        _check_value(flag.name, getattr(spec, flag.name), flag.metadata)
    _check_run(spec)
    _check_sources(spec)
    _check_sharing(spec)
    _check_steps(spec)
    _check_effects(spec)
    if spec.load_best_model_at_end:
        _check_best_model(spec)


def _check_value(name: str, value: Any, facts: Mapping[str, Any]) -> None:
    asked = f"--{name} {value}"
    if not kinds()[name].holds(value):
        raise InputError(f"{asked}: give {kinds()[name]}.")
    if value == "" and name != "source_prefix":
        raise InputError(f"--{name}: is empty; give a value or leave it out.")
    if isinstance(value, str):
        _check_text(name, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{asked}: give a finite number.")
    if isinstance(value, int) and value > LARGEST:
        raise InputError(f"{asked}: give {LARGEST} or less.")
    if isinstance(value, int) and value < -LARGEST:
        raise InputError(f"{asked}: give {-LARGEST} or more.")
    low, high = facts["at_least"], facts["at_most"]
    above, below = facts["above"], facts["below"]
    if low is not None and value < low:
        raise InputError(f"{asked}: give {low} or more.")
    if high is not None and value > high:
        raise InputError(f"{asked}: give {high} or less.")
    if above is not None and value <= above:
        raise InputError(f"{asked}: give a number above {above}.")
    if below is not None and value >= below:
        raise InputError(f"{asked}: give a number below {below}.")


def _check_text(name: str, value: str) -> None:
    if "\0" in value:
        raise InputError(f"--{name}: holds a NUL character. Take it out.")
    try:
        value.encode()
    except UnicodeEncodeError:  # the report holds it, in UTF-8
        raise InputError(
            f"--{name} {value}: holds what is no character of UTF-8. Name it otherwise."
        ) from None


def _check_run(spec: TrainingSpec) -> None:
    if spec.max_steps == 0:
        raise InputError("--max_steps 0: give 1 or more, or -1 to count epochs.")
    if spec.optim not in ADAMW:
        raise InputError(
            f"--optim {spec.optim}: AdamW is the only optimizer; give adamw_torch."
        )
    given = [f"--{name}" for name in ("bf16", "fp16") if getattr(spec, name)]
    given += ["--dtype float64"] if spec.dtype == "float64" else []
    if len(given) > 1:
        raise InputError(f"{listed(tuple(given), 'and')} exclude each other.")
    if spec.min_length is not None and spec.min_length > spec.longest_generation:
        raise InputError(
            f"--min_length {spec.min_length}: is above the longest generation "
            f"({spec.longest_generation}); see --val_max_target_length."
        )


def check_tpu(spec: TrainingSpec) -> None:
    """Raises `InputError` for what no TPU does.

    Not part of `check`: a trainer that takes no TPU by its name says that first.
    """
    if spec.use_cpu:
        raise InputError(
            f"--tpu {spec.tpu} and --use_cpu exclude each other: leave one out."
        )
    if spec.fp16:
        raise InputError("--fp16: a TPU computes in bfloat16; give --bf16 with --tpu.")


def _check_sharing(spec: TrainingSpec) -> None:
    name = spec.push_to_hub_model_id
    if name and spec.hub_model_id:
        raise InputError(
            "--push_to_hub_model_id and --hub_model_id name two repositories: give one."
        )
    if name and "/" in name:
        raise InputError(
            f"--push_to_hub_model_id {name}: is a name in your own namespace; "
            "give OWNER/NAME by --hub_model_id."
        )
    checkpoints = spec.hub_strategy in ("checkpoint", "all_checkpoints")
    if checkpoints and spec.save_strategy == "no":
        raise InputError(
            f"--hub_strategy {spec.hub_strategy}: there are no checkpoints with "
            "--save_strategy no."
        )


def _check_sources(spec: TrainingSpec) -> None:
    if spec.model_type is not None and spec.model_name_or_path is not None:
        raise InputError(
            "--model_type trains a new model and --model_name_or_path starts from "
            "one: give one of the two."
        )
    for name in ("train_file", "validation_file", "test_file"):
        if spec.dataset_name is not None and getattr(spec, name) is not None:
            raise InputError(
                f"--dataset_name and --{name} exclude each other: "
                "give a dataset, or a file for each split."
            )


def _check_steps(spec: TrainingSpec) -> None:
    """A number of steps is whole; below 1 it is a share of all steps."""
    for name in ("save_steps", "eval_steps", "logging_steps", "warmup_steps"):
        value = getattr(spec, name) or 0
        if value > 1 and value != int(value):
            raise InputError(
                f"--{name} {value:g}: give whole steps, or a share of all below 1."
            )


def _check_effects(spec: TrainingSpec) -> None:
    """Refuses a flag that changes nothing beside the others: it was meant to."""
    generation = [flag.name for flag in fields(GenerationFlags)]
    best = ["metric_for_best_model", "greater_is_better"]
    hub = [flag.name for flag in fields(HubFlags) if flag.name != "push_to_hub"]
    for names, needs, given in (
        (hub, "--push_to_hub", spec.push_to_hub),
        (generation, "--predict_with_generate", spec.predict_with_generate),
        (best, "--load_best_model_at_end", spec.load_best_model_at_end),
        (["eval_steps"], "--eval_strategy steps", spec.eval_strategy == "steps"),
        (["save_steps"], "--save_strategy steps", spec.save_strategy == "steps"),
        (["save_total_limit"], "a --save_strategy", spec.save_strategy != "no"),
    ):
        for name in names:
            value = getattr(spec, name)
            if not given and value != getattr(type(spec), name):
                secret = spec.__dataclass_fields__[name].metadata["secret"]
                asked = f"--{name}" if secret else f"--{name} {value}"
                raise InputError(f"{asked}: has no effect without {needs}.")


# What an evaluation can find, by the names that follow "eval_"
METRICS = ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum", "gen_len")


def _check_best_model(spec: TrainingSpec) -> None:
    if spec.eval_strategy == "no" or spec.eval_strategy != spec.save_strategy:
        raise InputError(
            "--load_best_model_at_end: give --eval_strategy and --save_strategy "
            "the same value, steps or epoch."
        )
    every = spec.eval_steps or spec.logging_steps
    shares = min(every, spec.save_steps) < 1  # of all steps: `plan_of` knows those
    if spec.eval_strategy == "steps" and not shares and spec.save_steps % every:
        raise InputError(
            f"--save_steps {spec.save_steps:g}: with --load_best_model_at_end it "
            f"must be a multiple of --eval_steps ({every:g})."
        )
    if spec.best_metric not in METRICS:
        raise InputError(
            f"--metric_for_best_model {spec.metric_for_best_model}: no such metric; "
            f"there are {', '.join(METRICS)}."
        )
    if spec.best_metric != "loss" and not spec.predict_with_generate:
        raise InputError(
            f"--metric_for_best_model {spec.metric_for_best_model}: "
            "give --predict_with_generate too, which computes it."
        )
