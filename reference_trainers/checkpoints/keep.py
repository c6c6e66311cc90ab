"""The checkpoints that an output folder keeps: found and rotated."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from reference_trainers.checkpoints.manifest import (
    CHECKPOINT_NAME,
    MANIFEST,
    Checkpoint,
    CheckpointError,
    verify_checkpoint,
)
from reference_trainers.files import files_in, remove_whole


def checkpoints(output_dir: Path) -> list[tuple[int, Path]]:
    """Step and folder of everything named checkpoint-N, sound or not, oldest first."""
    if not output_dir.is_dir():
        return []
    return sorted(
        (int(name[1]), path)
        for path in output_dir.iterdir()
        if (name := CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir()
    )


def find_newest_sound(output_dir: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest that is sound, and a warning for each newer one that is damaged.

    Run `folder.sweep` before it: that may put one back.
    """
    warnings: list[str] = []
    for _, folder in reversed(checkpoints(output_dir)):
        try:
            return verify_checkpoint(folder), warnings
        except CheckpointError as error:
            warnings.append(f"{error} It is passed over.")
    return None, warnings


def sound(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`; None where there is none, or a damaged one."""
    try:
        return verify_checkpoint(folder)
    except CheckpointError:
        return None


def users_files(folder: Path) -> list[str]:
    """What lies in a checkpoint's folder beside what its manifest lists."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        return sorted({*files_in(folder)} - {*listed, MANIFEST})
    except (OSError, ValueError, TypeError, KeyError):
        return []  # nobody can tell


def rotate(output_dir: Path, limit: int | None, keep: Iterable[Path]) -> None:
    """Deletes the oldest checkpoints beyond `limit`, but none of `keep`.

    Folders without a manifest are not ours: neither counted nor deleted. One with a
    user's file in it stays. Raises OSError where the system refuses.
    """
    ours = [path for _, path in checkpoints(output_dir) if (path / MANIFEST).is_file()]
    if limit is None or len(ours) <= limit:
        return
    kept = {path.resolve() for path in keep}
    disposable = [path for path in ours if path.resolve() not in kept]
    for path in disposable[: len(ours) - limit]:
        if not users_files(path):
            remove_whole(path)
