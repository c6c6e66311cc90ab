"""Malformed command lines."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

from conformance.fuzz.case import ODD, RUN, Case, Inputs, short
from reference_trainers import TrainingSpec, flags_of_dict

# Old names of flags, and those of other scripts
OLD = (
    *("checkpointing_steps", "with_tracking", "prediction_loss_only", "adafactor"),
    *("dataloader_num_workers", "logging_dir", "lang", "use_auth_token", "no_cuda"),
    *("max_train_steps", "evaluation_strategy", "group_by_length", "tpu_zone"),
)
TRAINERS = (
    *("", ":", "x", "1:2", "os:", ":path", "json:loads", "no_such_module:x", "..:x"),
    *("fixtures.numpy_backend:NOBODY", "fixtures.numpy_backend:", "🙂:x", "a b:c"),
    *("x\0:y", "a\nb", "a\nb:c", "x" * 5000, "json:loads:x", "json.no.module:x"),
)
WORDS = ("fly", "RUN", "", "run ", "list", "push", "-", "--", "🙂", "\0", "a\nb")
BAD_NUMBERS = ("", "x", "one", "1,5", "0x10", "1 2", "None", "1e", "--", "५x", "\0")
# A run with a large one of these is sound, and does not end in this life
ENDLESS = {
    *("max_steps", "num_train_epochs", "max_source_length", "max_target_length"),
    *("val_max_target_length", "preprocessing_num_workers", "max_train_samples"),
    *("gradient_accumulation_steps", "per_device_train_batch_size", "min_length"),
    *("per_device_eval_batch_size", "report_to"),
}


def _types() -> dict[str, type]:
    """Of each flag; str for one of a few words."""
    types = {}
    for name, hint in get_type_hints(TrainingSpec).items():
        kinds = [part for part in get_args(hint) or (hint,) if isinstance(part, type)]
        types[name] = next((k for k in kinds if k is not type(None)), str)
    return types


TYPES = _types()
FLAGS = [flag for flag in fields(TrainingSpec) if not flag.metadata["secret"]]
NAMES = [flag.name for flag in FLAGS]


def make(chance: Random, folder: Path, inputs: Inputs) -> Case:
    """A command line with one to three accidents.

    A few are of a whole run; the rest lack its rows, and are refused for that at last.
    """
    if chance.random() < 0.05:
        return _other_command(chance)
    whole = chance.random() < 0.08
    flags = inputs.flags() | {"do_train": True}
    if not whole:
        flags["train_file"] = "nowhere.csv"
    given = list(flags_of_dict(flags))
    told: list[str] = []
    names = chance.sample([n for n in NAMES if not (whole and n in ENDLESS)], 3)
    names = names[: chance.choice((1, 1, 1, 2, 3))]
    must_fail = not whole and not {"do_train", "do_eval", "do_predict"} & {*names}
    for name in names:
        what, more, refused = _accident(chance, name)
        told.append(what)
        given = [flag for flag in given if not flag.startswith(f"--{name}=")]
        at = (
            len(given)
            if what.startswith("no value")
            else chance.randrange(len(given) + 1)
        )
        given[at:at] = more
        must_fail = must_fail or refused
    return Case(
        "; ".join(told), (*RUN, *given), must_fail, ("--", "no flag takes", "spec.yaml")
    )


def _accident(chance: Random, name: str) -> tuple[str, list[str], bool]:
    """What it is, its arguments, and whether it must be refused."""
    kind = TYPES[name]
    match chance.choice(("type", "type", "extreme", "odd", "name", "words", "twice")):
        case "type" if kind is not str:
            value = chance.choice(BAD_NUMBERS)
            return f"--{name} is {short(value)}", [f"--{name}={value}"], True
        case "extreme" if kind in (int, float):
            value, refused = _extreme(chance, name)
            return f"--{name} is {value}", [f"--{name}={value}"], refused
        case "name":
            wrong = _misspelt(chance, name)
            known = wrong.replace("-", "_") in {*NAMES, *OLD, f"no_{name}"}
            value = chance.choice(ODD)
            return f"unknown --{short(wrong)}", [f"--{wrong}={value}"], not known
        case "words":
            return _loose(chance, name)
        case "twice":
            values = [chance.choice(ODD) for _ in range(chance.randint(2, 4))]
            what = f"--{name} {len(values)} times"
            return what, [f"--{name}={value}" for value in values], False
    value = chance.choice(ODD)
    if chance.random() < 0.2:
        name = chance.choice(OLD)
    return f"--{name} is {short(value)}", [f"--{name}={value}"], False


def _extreme(chance: Random, name: str) -> tuple[str, bool]:
    """A number at or beyond a bound, and whether it is beyond."""
    facts = TrainingSpec.__dataclass_fields__[name].metadata
    low, high = facts["at_least"], facts["at_most"]
    beyond = [f"{low - 1:g}"] if low is not None else []
    beyond += [f"{high + 1:g}"] if high is not None else []
    beyond += ["nan", "inf", "-inf", "1e999", "9" * 400, "-" + "9" * 5000]
    if TYPES[name] is int:
        beyond += ["2147483648", str(2**63), str(2**64), "1e3", "1.5", "-0.0"]
    if chance.random() < 0.6:
        return chance.choice(beyond), True
    extremes = ("0", "-0", "1", "2147483647", "+7", " 5 ", "1_000", "１２", "007")
    small = ("5e-324", "1e-300", "1e308", "-1e308", "0.1")
    return chance.choice(extremes + (small if TYPES[name] is float else ())), False


def _misspelt(chance: Random, name: str) -> str:
    at = chance.randrange(len(name))
    return chance.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + name[at] * 2 + name[at + 1 :],
            name[:at] + chance.choice("xyzé🙂 \n\0%.") + name[at + 1 :],
            name.upper(),
            name[: len(name) // 2],
            f"no_{name}",
            chance.choice(ODD).replace("=", "").removeprefix("-"),
        )
    )


def _loose(chance: Random, name: str) -> tuple[str, list[str], bool]:
    """Words that belong to nothing, values that are missing."""
    match chance.randrange(5):
        case 0 if TYPES[name] is not bool:
            return f"no value for --{name}", [f"--{name}"], True
        case 1:
            return "a lone --", ["--"], False
        case 2:
            word = chance.choice(("x", "3", "true", "🙂", "spec.yaml", "a b", "@x"))
            return f"a loose word, {word}", [word], True
        case 3:
            word = chance.choice(("-x", "-", "--=", "--=3", "---", "-1", "-é", "-\0"))
            return f"a loose {short(word)}", [word], False
    return f"--{name} as two words", [f"--{name}", chance.choice(ODD)], False


def _other_command(chance: Random) -> Case:
    """Another trainer, another word than `run`, or a push of nothing."""
    odd = [chance.choice(ODD) for _ in range(chance.randint(0, 2))]
    match chance.randrange(3):
        case 0:
            name = chance.choice(TRAINERS)
            return Case(
                f"--trainer {short(name)}", ("run", "--trainer", name, *odd), True
            )
        case 1:
            word = chance.choice(WORDS)
            return Case(f"the command {short(word)}", (word, *odd), False, ("",))
    more: list[Any] = [f"--{chance.choice(NAMES)}={text}" for text in odd]
    where = chance.choice([text for text in ODD if text not in ("-h", "--help")])
    return Case(f"push {short(where)}", ("push", where, *more), True, ("",))
