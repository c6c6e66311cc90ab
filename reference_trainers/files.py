"""Whole writes, flushing, listing, deleting and locking: one of each."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reference_trainers.errors import InputError
from reference_trainers.results import json_text


def at_home(path: str) -> Path:
    """With the home folder for a ~; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


@contextmanager
def refusals_told(asked: str) -> Iterator[None]:
    """What the system refuses while inside (a name that is too long, a folder that may
    not be looked into) becomes one sentence, an `InputError`; it begins with `asked`.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{asked}: {error.strerror or error}.") from error


def temporary_sibling(path: Path, doing: str) -> Path:
    """A hidden name beside `path`; that of a checkpoint is known to `folder.sweep`."""
    return path.with_name(f".{path.name}.{doing}-{os.getpid()}")


def delete_tree(path: Path) -> None:
    """Deletes a folder, as far as the system lets it; a link, but not its target."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_whole(folder: Path) -> None:
    """Deletes a folder, which at no instant looks whole without being so."""
    doomed = temporary_sibling(folder, "deleting")
    delete_tree(doomed)  # of a killed run that had the same process id
    folder.rename(doomed)
    flush(folder.parent)
    delete_tree(doomed)


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


class Lock:
    """Holds an output folder for one run: a second one is refused with InputError.

    The kernel holds it on the folder itself: there is no file to clean up, and it
    ends with the process however that ends. Whoever empties the folder must not
    replace it. Of a run of several processes, only the first takes it.
    """

    def __init__(self, output_dir: Path):
        self.output_dir = output_dir
        self.warnings: list[str] = []
        """Says so where the file system has no locks; the run does without."""

    def __enter__(self) -> Self:
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.output_dir, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            reason = f"--output_dir {self.output_dir}: {error.strerror}."
            raise InputError(reason) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise InputError(
                f"{self.output_dir}: another run is writing there. "
                "Wait for its end, or name another --output_dir."
            ) from error
        except OSError as error:
            self.warnings.append(
                f"{self.output_dir} cannot be locked ({error.strerror}): "
                "see to it that no other run writes there."
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
