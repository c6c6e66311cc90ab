"""What a checkpoint must be, file by file, and whether a folder is that."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference_trainers.errors import InputError
from reference_trainers.files import json_of, sha256_of
from reference_trainers.recipe.loss_scale import LossScale
from reference_trainers.results import require_types

VERSION = 2  # of the manifest; raised when a reader of the old one would misread it
MANIFEST = "manifest.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
TRAINER_STATE = "trainer_state.json"
STEPS = "steps.json"  # the report's steps and evaluations up to here
CHECKPOINT_NAME = re.compile(r"checkpoint-(0|[1-9][0-9]*)")


class CheckpointError(InputError):
    """A folder that is no sound checkpoint: which, and what is wrong with it."""

    def __init__(self, folder: Path, what: str):
        super().__init__(f"{folder}: {what}.")


@dataclass(frozen=True)
class FileRecord:
    """What a file was when it was written."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is and what each of its files must be."""

    step: int
    """Steps done: a resumed run begins with the step of this number, counted from 0."""
    updates: int
    """`State.updates`: fewer than steps where fp16 overflowed."""
    identity: Mapping[str, Any]
    """What may not change at a resume; see `require_same_run`."""
    files: Mapping[str, FileRecord]
    """By path in the folder."""
    loss_scale: LossScale | None = None
    """`State.loss_scale`."""
    version: int = VERSION

    def as_json(self) -> str:
        """The file's exact text; its digest guards the manifest itself."""
        content = asdict(self)
        digest = hashlib.sha256(json_of(content).encode()).hexdigest()
        return json_of(content | {"digest": digest})


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files have been verified."""

    folder: Path
    manifest: Manifest

    @property
    def step(self) -> int:
        return self.manifest.step


def verify_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint, once each file is found to be what its manifest says.

    Raises CheckpointError, which names the first thing that is wrong.
    """
    try:
        manifest = _read_manifest(folder)
        for name in (MODEL, OPTIMIZER, TRAINER_STATE):
            if name not in manifest.files:
                raise CheckpointError(folder, f"{MANIFEST} does not list {name}")
        for name, record in manifest.files.items():
            _verify_file(folder, name, record)
    except OSError as error:
        raise CheckpointError(folder, f"cannot be read ({error})") from error
    named = CHECKPOINT_NAME.fullmatch(folder.name)
    if named and manifest.step != int(named[1]):
        raise CheckpointError(folder, f"holds step {manifest.step}: it was renamed")
    return Checkpoint(folder, manifest)


def record_of(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, sha256_of(path))


def _read_manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise CheckpointError(folder, what)
    if not any(folder.iterdir()):
        raise CheckpointError(folder, "the folder is empty")
    if not (folder / MANIFEST).is_file():
        what = f"has no {MANIFEST}, so it is no checkpoint of these trainers"
        raise CheckpointError(folder, what)
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        content = json.loads(text)
    except ValueError as error:
        what = f"{MANIFEST} is damaged: it is not readable JSON"
        raise CheckpointError(folder, what) from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        what = f"{MANIFEST} is of version {version}, but only {VERSION} can be read"
        raise CheckpointError(folder, what)
    try:
        content.pop("digest")
        files = content.pop("files").items()
        records = {name: FileRecord(**record) for name, record in files}
        scale = content.pop("loss_scale")
        scale = scale and LossScale(**scale)
        manifest = Manifest(**content, files=records, loss_scale=scale)
        for part in (manifest, *records.values(), *([scale] if scale else [])):
            require_types(part)
    except (AttributeError, KeyError, TypeError):
        manifest = None
    if manifest is None or manifest.as_json() != text:
        raise CheckpointError(folder, f"{MANIFEST} is damaged: its digest is wrong")
    if manifest.updates < 0:
        what = f"{MANIFEST} counts {manifest.updates} updates"
        raise CheckpointError(folder, what)
    return manifest


def _verify_file(folder: Path, name: str, record: FileRecord) -> None:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(folder, f"{name} is missing")
    size = path.stat().st_size
    if size != record.size:
        what = f"{name} is damaged: {size} bytes instead of {record.size}"
        raise CheckpointError(folder, what)
    if record_of(path) != record:
        what = f"{name} is damaged: its SHA-256 is not that of {MANIFEST}"
        raise CheckpointError(folder, what)
