"""Malformed spec files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from conformance.fuzz.case import ODD, RUN, Case, Inputs, damaged_bytes, short
from conformance.fuzz.flags import ENDLESS, NAMES

Made = tuple[str, str | bytes, bool]
"""What it is, the file's content, and whether it must be refused."""

MARKER = "was-run"
TAGS = (
    f"!!python/object/apply:os.mkdir [{MARKER}]",
    f"!!python/object/new:os.mkdir [{MARKER}]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!timestamp no",
    "!unknown 3",
    "!!int many",
    "!!float x",
    "!!bool perhaps",
    "!!binary ====",
)
VALUES: tuple[Any, ...] = (
    *([], {}, [1], [[]], {"a": 1}, ["a", None], {"a": {"b": []}}, [True], 10**400),
    *(1e308, -1, 0, 2**31, 2**63, 1.5, True, False, "nan", "", "no", "2024-01-01"),
)
YAML_VALUES = (
    *("2024-01-01", "12:30:45", ".nan", ".inf", "0o17", "0x1F", "1_000", "~", "yes"),
    "0x" + "f" * 9000,
    *("!!set {a, b}", "!!omap [a: 1]", "!!binary aGk=", "*nobody", "&a *a", "'open"),
    *("[1, 2", "{a: 1", "|", ">", "- a", "a: b: c", "@x", "`x", "%x", "\t3", "? a"),
)
SHAPES = (
    *("[]", "{}", "null", "3", '"max_steps"', "true", "[[1]]", '[{"max_steps": 1}]'),
    *("", " ", "\n\n", "#", "---", "---\n---", "a", "- a\n- b", "{", "}", "[", ":"),
    *("a: 1\n---\nb: 2", "%YAML 9.9\n---\na: 1", "? [a]\n: b", "? {a: b}\n: c"),
    *("{1: 2}", "{null: 3}", "{true: 1}", "{1.5: 2}", '{"": 3}', "\0", "\x07"),
)


def make(chance: Random, folder: Path, inputs: Inputs) -> Case:
    """A spec file with one accident, and now and then a flag behind it."""
    ending = chance.choice((".yaml", ".yml", ".json"))
    name = chance.choice(("spec", "spec", "spec", "a b", "é", "a\nb")) + ending
    flags = inputs.flags() | {"do_train": True}
    whole = chance.random() < 0.04
    if not whole:
        flags["train_file"] = "nowhere.csv"
    what, content, must_fail = chance.choice(MAKERS)(chance, flags, ending, whole)
    path = folder / name
    match chance.randrange(60):
        case 0:
            what, must_fail = "a folder", True
            path.mkdir()
        case 1:
            what, must_fail = "not there", True
        case 2:
            what, must_fail = "a link to itself", True
            path.symlink_to(path.name)
        case _:
            text = (
                content.encode(errors="surrogatepass")
                if isinstance(content, str)
                else content
            )
            path.write_bytes(text)
    more = ("--max_steps=1",) if chance.random() < 0.1 else ()
    told = f"{short(name)}: {what}"
    return Case(told, (*RUN, name, *more), must_fail or not whole, ("--", _shown(name)))


def _shown(name: str) -> str:
    return name.replace("\n", "\\n")


def _value(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """One flag with a value of another type."""
    names = [n for n in NAMES if not (whole and n in ENDLESS)]
    name, value = chance.choice(names), chance.choice(VALUES)
    what = f"{name} is {short(value)}"
    nested = isinstance(value, (list, dict))
    return what, json.dumps({**flags, name: value}), nested


def _odd(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """One flag, or one name, with an odd text."""
    names = [n for n in NAMES if not (whole and n in ENDLESS)]
    name, text = chance.choice(names), chance.choice(ODD)
    if chance.random() < 0.3:
        what = f"a flag named {short(text)}"
        return what, json.dumps({**flags, text: chance.choice(VALUES)}), True
    return f"{name} is {short(text)}", json.dumps({**flags, name: text}), False


def _yaml(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """A value that only YAML can say."""
    names = [n for n in NAMES if not (whole and n in ENDLESS)]
    name = chance.choice(names)
    tagged = chance.random() < 0.5
    value = chance.choice(TAGS if tagged else YAML_VALUES)
    lines = [f"{k}: {json.dumps(v)}" for k, v in flags.items() if k != name]
    lines.insert(chance.randrange(len(lines) + 1), f"{name}: {value}")
    return f"{name}: {value}", "\n".join(lines), tagged or ending == ".json"


def _shape(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """No mapping of names to values at all, or none that can be read."""
    text = chance.choice(SHAPES)
    return f"holds {short(text)}", text, text != "{}" or not whole


def _deep(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """Nested deep, or aliases that unfold into billions."""
    depth = chance.choice((5, 50, 900, 1500))
    if chance.random() < 0.3:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        for n in range(1, 12):
            lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]")
        return "lists of lists by alias", "\n".join([*lines, "max_steps: *a11"]), True
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ("- ", "")))
    text = opening * depth + "1" + closing * depth
    return f"{depth} deep", '{"max_steps": ' + text + "}", True


def _twice(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """A name that comes twice."""
    name = chance.choice([*flags])
    again = json.dumps({name: chance.choice((1, "x", True))})
    text = json.dumps(flags)
    return f"{name} comes twice", text[:-1] + ", " + again[1:], True


def _bytes(chance: Random, flags: dict[str, Any], ending: str, whole: bool) -> Made:
    """An accident to the bytes of a sound file."""
    text = json.dumps(flags)
    if ending != ".json":
        text = "".join(f"{k}: {json.dumps(v)}\n" for k, v in flags.items())
    coding = chance.choice(("utf-8", "utf-8", "utf-16", "utf-32", "utf-8-sig"))
    if coding != "utf-8":
        return coding, text.encode(coding), False
    if chance.random() < 0.2:
        return "Latin-1", (text[:-2] + ' \xe9"').encode("latin-1"), True
    what, content = damaged_bytes(chance, text.encode())
    return what, content, False


MAKERS: tuple[Callable[[Random, dict[str, Any], str, bool], Made], ...] = (
    *(_value, _odd, _yaml, _shape, _deep, _twice, _bytes),
)
