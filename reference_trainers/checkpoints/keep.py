"""The checkpoints that an output folder keeps: found, rotated, removed."""

from __future__ import annotations

import re
from pathlib import Path

from reference_trainers.checkpoints.manifest import (
    CHECKPOINT_NAME,
    MANIFEST,
    CheckpointError,
    verify,
)
from reference_trainers.errors import InputError
from reference_trainers.files import delete_tree, flush, temporary_sibling

_LEFTOVER = re.compile(
    rf"\.(?P<name>{CHECKPOINT_NAME.pattern})"
    r"\.(?P<doing>writing|replaced|deleting)-[0-9]+"
)


def checkpoints(output_dir: Path) -> list[tuple[int, Path]]:
    """Step and folder of everything named checkpoint-N, sound or not, oldest first."""
    if not output_dir.is_dir():
        return []
    return sorted(
        (int(name[1]), path)
        for path in output_dir.iterdir()
        if (name := CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir()
    )


def find_newest_sound(output_dir: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and a warning for each newer one that is damaged.

    Run `clean_leftovers` before it: that may put one back.
    """
    warnings = []
    for _, folder in reversed(checkpoints(output_dir)):
        try:
            verify(folder)
        except CheckpointError as error:
            warnings.append(f"{error} It is passed over.")
        else:
            return folder, warnings
    return None, warnings


def resolve(value: str, output_dir: Path) -> tuple[Path, list[str]]:
    """The folder that `--resume_from_checkpoint value` means, and warnings.

    `true` and `latest` stand for the newest sound checkpoint in `output_dir`; the
    path of a folder that holds checkpoints for the newest sound one in it. A
    checkpoint that is named itself is left to `read` to verify.

    Raises InputError where there is none.
    """
    meant = output_dir if value.lower() in ("true", "latest") else Path(value)
    if (meant / MANIFEST).is_file():
        return meant, []
    found, warnings = find_newest_sound(meant)
    if found:
        return found, warnings
    flag = f"--resume_from_checkpoint {value}"
    if meant == output_dir or warnings:
        damaged = " ".join(["", *warnings])
        raise InputError(f"{flag}: {meant} holds no sound checkpoint.{damaged}")
    try:
        verify(meant)  # says what the folder is, or that there is none
    except CheckpointError as error:
        raise InputError(f"{flag}: {error}") from error
    return meant, []


def rotate(output_dir: Path, limit: int | None, best: Path | None = None) -> list[Path]:
    """Deletes the oldest checkpoints beyond `limit`; returns those it deleted.

    The newest sound one and `best` stay, whatever the limit. Folders without a
    manifest are not ours: neither counted nor deleted. Raises OSError where the
    system refuses.
    """
    ours = [path for _, path in checkpoints(output_dir) if (path / MANIFEST).is_file()]
    if limit is None or len(ours) <= limit:
        return []
    newest, _ = find_newest_sound(output_dir)
    kept = {path.resolve() for path in (newest, best) if path}
    disposable = [path for path in ours if path.resolve() not in kept]
    deleted = disposable[: len(ours) - limit]
    for path in deleted:
        remove(path)
    return deleted


def remove(folder: Path) -> None:
    """Deletes a checkpoint, which at no instant looks whole without being so."""
    doomed = temporary_sibling(folder, "deleting")
    delete_tree(doomed)  # of a killed run that had the same process id
    folder.rename(doomed)
    flush(folder.parent)
    delete_tree(doomed)


def clean_leftovers(output_dir: Path) -> list[Path]:
    """Clears away what a killed write or deletion left; returns what it cleared.

    A checkpoint that was just being replaced goes back to its name. Call it only
    under the lock: another run's unfinished write looks the same.
    """
    cleared = []
    for path in sorted(output_dir.iterdir()) if output_dir.is_dir() else []:
        leftover = _LEFTOVER.fullmatch(path.name)
        if leftover is None:
            continue
        name = output_dir / leftover["name"]
        if leftover["doing"] == "replaced" and not name.exists():
            path.rename(name)
        else:
            delete_tree(path)
        cleared.append(path)
    return cleared
