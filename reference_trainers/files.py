"""Whole writes, flushing, listing and sweeping: one of each."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reference_trainers.results import json_text

STAGE = "results"  # what the folder of unfinished results is named after
_LEFTOVER = re.compile(
    rf"\.(?P<name>checkpoint-[0-9]+|{STAGE})"
    r"\.(?P<doing>writing|replaced|deleting)-[0-9a-z_]+"
)


def temporary_sibling(path: Path, doing: str) -> Path:
    """A hidden name beside `path`; that of a checkpoint is known to `sweep`."""
    return path.with_name(f".{path.name}.{doing}-{os.getpid()}")


def sweep(output_dir: Path) -> None:
    """Clears away what killed runs left of their writes, deletions and results.

    A checkpoint that was just being replaced goes back to its name. Call it only
    under the folder's lock: another run's unfinished write looks the same.
    """
    for path in sorted(output_dir.iterdir()):
        leftover = _LEFTOVER.fullmatch(path.name)
        if leftover is None:
            continue
        name = output_dir / leftover["name"]
        if leftover["doing"] == "replaced" and not name.exists():
            path.rename(name)
        else:
            delete_tree(path)


def delete_tree(path: Path) -> None:
    """Deletes a folder, as far as the system lets it; a link, but not its target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def files_in(folder: Path) -> list[str]:
    """Every file below `folder`, relative to it, sorted."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json_text(content), encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file whole or not at all: a reader never sees a part of it."""
    temporary = temporary_sibling(path, "writing")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def json_of(content: Mapping[str, Any]) -> str:
    """As transformers writes trainer_state.json: a loss may be NaN."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
