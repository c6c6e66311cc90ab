"""Damaged checkpoints, and damaged output folders around them."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from conformance.fuzz.case import (
    ODD,
    OUTPUT,
    Case,
    Inputs,
    command,
    damaged_bytes,
    short,
)
from conformance.fuzz.models import VALUES, edit_header

MANIFEST, REPORT = "manifest.json", "run_report.json"
TENSORS = ("model.safetensors", "optimizer.safetensors")
JSON = ("trainer_state.json", "trainer_state.json", "steps.json", "steps.json")
NEWEST = "checkpoint-3"


def make(chance: Random, folder: Path, inputs: Inputs) -> Case:
    """One accident to what a run left, and a command that goes on from it."""
    output = folder / OUTPUT
    finished = chance.random() < 0.3
    shutil.copytree(inputs.finished if finished else inputs.stopped, output)
    checkpoint = output / chance.choice((NEWEST, NEWEST, "checkpoint-2"))
    what, damaged = chance.choice(MAKERS)(chance, checkpoint)
    flags = inputs.flags() | {"do_train": True, "max_steps": 6 if finished else 4}
    must_fail = False
    match chance.randrange(6):
        case 0 | 1:
            flags["resume_from_checkpoint"] = f"{OUTPUT}/{checkpoint.name}"
            must_fail = damaged
            if checkpoint.name != NEWEST:
                flags["output_dir"] = "other"
        case 2:
            flags["resume_from_checkpoint"] = chance.choice(("latest", OUTPUT, "true"))
        case 3:
            flags |= {"do_train": None, "do_eval": True}
        case 4:
            best = ("eval_strategy", "save_strategy")
            flags |= dict.fromkeys(best, "steps") | {"eval_steps": 1, "save_steps": 1}
            flags["load_best_model_at_end"] = True
    told = f"{checkpoint.name}: {what}"
    return Case(told, command(**flags), must_fail, ("checkpoint", "--output_dir"))


def _bytes(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """Damaged bytes, which the manifest tells."""
    path = _any_file(chance, checkpoint)
    content = path.read_bytes()
    what, damaged = damaged_bytes(chance, content)
    path.write_bytes(damaged)
    return f"{path.name}: {what}", damaged != content


def _place(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """Files that are gone, renamed, swapped or something else."""
    path, other = _any_file(chance, checkpoint), _any_file(chance, checkpoint)
    match chance.randrange(7):
        case 0:
            path.unlink()
            return f"{path.name} is gone", True
        case 1:
            path.rename(path.with_name(f"{path.name}.bak"))
            return f"{path.name} is renamed", True
        case 2:
            content = path.read_bytes()
            path.write_bytes(other.read_bytes())
            other.write_bytes(content)
            same = content == path.read_bytes()
            return f"{path.name} and {other.name} are swapped", not same
        case 3:
            path.unlink()
            path.mkdir()
            return f"{path.name} is a folder", True
        case 4:
            path.unlink()
            path.symlink_to(path.name)
            return f"{path.name} is a link to itself", True
        case 5:
            shutil.rmtree(checkpoint)
            name = chance.choice(("file", "folder", "link"))
            if name == "file":
                checkpoint.write_bytes(b"")
            elif name == "folder":
                checkpoint.mkdir()
            else:
                checkpoint.symlink_to(checkpoint.name)
            return f"is an empty {name}", True
    name = chance.choice(("checkpoint-9", "checkpoint-0", "checkpoint-99999999999"))
    shutil.copytree(checkpoint, checkpoint.with_name(name))
    return f"is there as {name} too", False


def _manifest(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """One field of the manifest edited, with a digest that fits or not."""
    content = json.loads((checkpoint / MANIFEST).read_text())
    what = edited(chance, content)
    if chance.random() < 0.7:
        what += ", its digest fits"
        seal(checkpoint, content)
        return f"{MANIFEST}: {what}", False
    (checkpoint / MANIFEST).write_text(json.dumps(content, indent=2))
    return f"{MANIFEST}: {what}", True


def _content(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """One field of a JSON file edited, and listed in the manifest as it is."""
    path = checkpoint / chance.choice(JSON)
    content = json.loads(path.read_text())
    what = edited(chance, content)
    text = json.dumps(content)
    if chance.random() < 0.2:
        text = chance.choice(("", "[]", "{}", "null", "3", "{", '{"steps": 3}', "\xff"))
        what = f"holds {short(text)}"
    path.write_text(text, encoding="latin-1")
    seal(checkpoint)
    return f"{path.name}: {what}, the manifest fits", False


def _tensors(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """Tensors that are not what they should be, listed in the manifest as they are."""
    path = checkpoint / chance.choice(TENSORS)
    content = path.read_bytes()
    if chance.random() < 0.3:
        what, content = damaged_bytes(chance, content)
    else:
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        what = edit_header(chance, header)
        text = json.dumps(header).encode()
        content = struct.pack("<Q", len(text)) + text + content[8 + size :]
    path.write_bytes(content)
    seal(checkpoint)
    return f"{path.name}: {what}, the manifest fits", False


def _around(chance: Random, checkpoint: Path) -> tuple[str, bool]:
    """What lies beside the checkpoints: a report, leftovers of a killed run, a file."""
    output = checkpoint.parent
    report = output / REPORT
    match chance.randrange(3):
        case 0 if report.is_file():
            if chance.random() < 0.3:
                what, damaged = damaged_bytes(chance, report.read_bytes())
                report.write_bytes(damaged)
                return f"{REPORT}: {what}", False
            content = json.loads(report.read_text())
            what = edited(chance, content)
            report.write_text(json.dumps(content))
            return f"{REPORT}: {what}", False
        case 1:
            doing = ("writing", "replaced", "deleting", "publishing", "removing")
            name = f".results.{chance.choice((*doing, 'superseded'))}-abc"
            if chance.random() < 0.5:
                name = f".{NEWEST}.{chance.choice(doing)}-12"
            content = chance.choice(("", "{}", "[]", "null", "{", '{"by": 3}'))
            (output / name).write_text(content)
            return f"{name} holds {short(content)}", False
    name = chance.choice(("model.safetensors", "README.md", "notes", "é", "a\nb"))
    (output / name).write_text("mine")
    return f"{name!r} lies beside it", False


def _any_file(chance: Random, checkpoint: Path) -> Path:
    return checkpoint / chance.choice(sorted(p.name for p in checkpoint.iterdir()))


def edited(chance: Random, content: dict[str, Any]) -> str:
    """Changes one field, at any depth; what was done."""
    place: Any = content
    told = ""
    while True:
        names = [*place] if isinstance(place, dict) else [*range(len(place))]
        name = chance.choice(names)
        told += f"{name}."
        if not isinstance(place[name], (dict, list)) or not place[name]:
            break
        if chance.random() < 0.4:
            break
        place = place[name]
    told = told.rstrip(".")
    match chance.randrange(4):
        case 0:
            del place[name]
            return f"{told} is gone"
        case 1 if isinstance(place, dict):
            place[chance.choice(("x", "", "a\nb", "../x", "/dev/null"))] = 3
            return f"{told} is not alone"
    value = chance.choice((*VALUES, *ODD[:20]))
    place[name] = json.loads(json.dumps(value))
    return f"{told} is {short(value)}"


def seal(checkpoint: Path, content: dict[str, Any] | None = None) -> None:
    """Writes a manifest that fits; of the files as they are, if no content is given."""
    path = checkpoint / MANIFEST
    if content is None:
        content = json.loads(path.read_text())
        for name in content["files"]:
            data = (checkpoint / name).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            content["files"][name] = {"size": len(data), "sha256": digest}
    content.pop("digest", None)
    digest = hashlib.sha256(_text(content).encode()).hexdigest()
    path.write_text(_text(content | {"digest": digest}))


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


MAKERS: tuple[Callable[[Random, Path], tuple[str, bool]], ...] = (
    *(_bytes, _place, _manifest, _manifest, _content, _content, _tensors, _around),
)
