"""Damaged model folders."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from conformance.fuzz.case import ODD, Case, Inputs, command, damaged_bytes, short

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SETTINGS = (
    *("config.json", "config.json", "generation_config.json", "tokenizer_config.json"),
    *("tokenizer.json", "tokenizer.json"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 1.5, 2**31, 2**63, 1e308, "", "x", "3", "a\nb", "\0"),
    *([], {}, [1], ["a"], {"a": 1}, [[]], "bert", "t5", "llama", "float16", "relu"),
)
CONTENTS = ("", "[]", "{}", "null", "3", '"t5"', "{", "[1", '{"a": }', "\0", "[{}]")


def make(chance: Random, folder: Path, inputs: Inputs) -> Case:
    """A sound model with one accident to one of its files."""
    model = folder / "model"
    shutil.copytree(inputs.model, model)
    what, must_fail = chance.choice(MAKERS)(chance, model)
    flags = inputs.flags() | {"model_name_or_path": "model"}
    flags[chance.choice(("do_train", "do_train", "do_eval", "do_predict"))] = True
    if chance.random() < 0.5:
        flags["predict_with_generate"] = True
    match chance.randrange(8):
        case 0:
            flags |= {"config_name": "model", "tokenizer_name": "model"}
            flags["model_name_or_path"] = str(inputs.model)
            must_fail = False
        case 1:
            flags |= {"model_type": "t5", "tokenizer_name": str(inputs.model)}
            flags |= {"config_name": "model", "model_name_or_path": None}
            must_fail = False
    return Case(
        f"model: {what}", command(**flags), must_fail, ("--", "model/", "config.json")
    )


def _setting(chance: Random, model: Path) -> tuple[str, bool]:
    """One value of a JSON file of another type, or gone, or new."""
    path = model / chance.choice(SETTINGS)
    content = json.loads(path.read_text())
    place = content
    told = path.name
    while True:
        name = chance.choice([*place]) if isinstance(place, dict) else 0
        told += f", {short(name)}"
        if not isinstance(place[name], (dict, list)) or not place[name]:
            break
        if chance.random() < 0.4:
            break
        place = place[name]
        if isinstance(place, list):
            at = chance.randrange(len(place))
            place[0], place[at] = place[at], place[0]
    if chance.random() < 0.15:
        del place[name]
        told += " is gone"
    else:
        value = chance.choice((*VALUES, *ODD)) if chance.random() < 0.8 else [place]
        if _is_large(value) and path.name == "config.json":
            value = -7  # a sound model, but one that no machine holds
        place[name] = json.loads(json.dumps(value))
        told += f" is {short(value)}"
    path.write_text(json.dumps(content))
    return told, False


def _is_large(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 1000


def _content(chance: Random, model: Path) -> tuple[str, bool]:
    """Another content, or damaged bytes."""
    path = model / chance.choice((*SETTINGS, WEIGHTS))
    if chance.random() < 0.4:
        content = chance.choice(CONTENTS)
        path.write_text(content)
        needed = path.name in ("config.json", WEIGHTS) and content != "{}"
        return f"{path.name} holds {short(content)}", needed
    what, damaged = damaged_bytes(chance, path.read_bytes())
    path.write_bytes(damaged)
    return f"{path.name}: {what}", False


def _place(chance: Random, model: Path) -> tuple[str, bool]:
    """A file that is gone, renamed, a folder, or another file."""
    names = sorted(path.name for path in model.iterdir())
    path = model / chance.choice(names)
    needed = path.name in ("config.json", WEIGHTS)
    match chance.randrange(5):
        case 0:
            path.unlink()
            return f"{path.name} is gone", needed
        case 1:
            path.rename(path.with_name(f"{path.name}.bak"))
            return f"{path.name} is renamed", needed
        case 2:
            path.unlink()
            path.mkdir()
            return f"{path.name} is a folder", needed
        case 3:
            path.unlink()
            path.symlink_to(path.name)
            return f"{path.name} is a link to itself", needed
    other = model / chance.choice([name for name in names if name != path.name])
    path.write_bytes(other.read_bytes())
    return f"{path.name} is {other.name}", path.name == WEIGHTS


def _header(chance: Random, model: Path) -> tuple[str, bool]:
    """A header of safetensors that lies."""
    path = model / WEIGHTS
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    told = edit_header(chance, header)
    text = json.dumps(header).encode()
    size = len(text)
    if chance.random() < 0.2:
        size = chance.choice((0, 1, size - 1, size + 1, 2**31, 2**63, 2**64 - 1))
        told += f", its size is said to be {size}"
    path.write_bytes(struct.pack("<Q", size) + text + content[8 + len(text) :])
    return f"{WEIGHTS}: {told}", False


def edit_header(chance: Random, header: dict[str, Any]) -> str:
    """One accident to what is said of the tensors."""
    name = chance.choice([key for key in header if key != "__metadata__"])
    tensor = header[name]
    match chance.randrange(6):
        case 0:
            del header[name]
            return f"{name} is not listed"
        case 1:
            header[f"{name}.x"] = header.pop(name)
            return f"{name} has another name"
        case 2:
            key = chance.choice([*tensor])
            del tensor[key]
            return f"{name} has no {key}"
        case 3:
            tensor["dtype"] = chance.choice(("F16", "BF16", "I64", "F64", "X", 3, None))
            return f"{name} is of type {tensor['dtype']}"
        case 4:
            shapes: tuple[Any, ...] = (
                [],
                [0],
                [-1],
                [2**63],
                [2**32, 2**32],
                tensor["shape"][::-1],
            )
            tensor["shape"] = chance.choice((*shapes, "x", None, [1.5]))
            return f"{name} is of shape {tensor['shape']}"
    start, end = tensor["data_offsets"]
    pairs = ([0, 4], [end, start], [start, end + 4], [start], [-4, end], [0, 2**64])
    tensor["data_offsets"] = chance.choice((*pairs, None, "x"))
    return f"{name} is at {tensor['data_offsets']}"


def _index(chance: Random, model: Path) -> tuple[str, bool]:
    """An index of weights that can't be followed."""
    (model / WEIGHTS).rename(model / "part.safetensors")
    places: tuple[Any, ...] = (
        *("../inputs.safetensors", "/dev/null", "gone.safetensors", "config.json", ""),
        *(None, 3, [], {}, "a\0b", "a\nb.safetensors", ".", "part.bin", "\ud800"),
    )
    place = chance.choice(places)
    index = {"metadata": {}, "weight_map": {"shared.weight": place, "x": place}}
    text = json.dumps(index)
    if chance.random() < 0.3:
        text = chance.choice((*CONTENTS, '{"weight_map": {}}', '{"metadata": {}}'))
    (model / INDEX).write_text(text)
    return f"{INDEX} holds {short(text)}", True


MAKERS: tuple[Callable[[Random, Path], tuple[str, bool]], ...] = (
    *(_setting, _setting, _content, _place, _header, _index),
)
