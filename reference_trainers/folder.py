"""The output folder: what may be there, and how results get there whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reference_trainers.errors import InputError
from reference_trainers.files import (
    Lock,
    at_home,
    delete_tree,
    files_in,
    flush,
    flush_tree,
    refusals_told,
    remove_whole,
    sha256_of,
)
from reference_trainers.results import REPORT_FILE, RunReport
from reference_trainers.spec import TrainingSpec

STAGE = ".results.writing-"
PUBLISHING = ".results.publishing-"
REMOVING = ".results.removing-"
SUPERSEDED = ".results.superseded-"
_CHECKPOINT = re.compile(r"checkpoint-[0-9]+")
_LEFTOVER = re.compile(
    r"\.(?:(?P<name>checkpoint-[0-9]+)\.(?P<moved>writing|replaced|deleting)"
    r"|results\.(?P<staged>writing|publishing|removing|superseded))-[0-9a-z_]+"
)


def output_folder(spec: TrainingSpec) -> Path:
    """The folder of a spec, which need not exist yet."""
    if not spec.output_dir:
        raise InputError("--output_dir: say where to write.")
    return at_home(spec.output_dir)


@dataclass(frozen=True)
class Claim:
    """An output folder that is this run's alone."""

    folder: Path
    stage: Path
    """A folder in it for results that are not finished."""
    occupied: bool
    """Whether something was in the folder."""
    report: RunReport | None
    """What an earlier run published there."""
    warnings: list[str]

    def discard(self) -> None:
        """Takes the stage away, as the end of the claim does."""
        shutil.rmtree(self.stage, ignore_errors=True)


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Locks the folder, sweeps it, and makes the stage; the stage is gone at the end.

    `publish` moves the staged files into the folder. Where the run fails before,
    nothing is left behind, not even the folder if it was not there before.
    Raises `InputError` where it is a file, is locked, or can't be written.
    """
    with refusals_told(f"--output_dir {folder}"):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--output_dir {folder}: is a file, not a folder.")
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with Lock(folder) as lock:
        try:
            sweep(folder)
            occupied = any(folder.iterdir())
            stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
            stage.chmod(folder.stat().st_mode & 0o777)
        except OSError as error:
            raise InputError(
                f"--output_dir {folder}: cannot be written: {error.strerror}."
            ) from error
        claim = Claim(folder, stage, occupied, RunReport.find(folder), lock.warnings)
        try:
            yield claim
        finally:
            claim.discard()
            for path in missing:  # the innermost first; one that holds results stays
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


def sweep(folder: Path) -> None:
    """Clears away what killed runs left unfinished, and finishes what was decided.

    A checkpoint that was just being replaced goes back to its name; results that were
    being published, or removed, are. Call it only under the folder's lock: another
    run's unfinished write looks the same.
    """
    for path in sorted(folder.iterdir()):
        leftover = _LEFTOVER.fullmatch(path.name)
        if leftover is None:
            continue
        doing = leftover["moved"] or leftover["staged"]
        if doing == "replaced" and not (folder / leftover["name"]).exists():
            path.rename(folder / leftover["name"])
        elif doing == "publishing":
            _finish_publishing(path, folder)
        elif doing == "removing":
            _finish_removing(path, folder)
        elif doing == "superseded":
            _finish_superseding(path, folder)
        else:
            delete_tree(path)


def publish(stage: Path, folder: Path) -> None:
    """Puts all that is staged into `folder`, in place of what an earlier report lists.

    All of it or none: a kill before the rename leaves the folder as it was, one after
    it is made up for by `sweep`. The report of the new results comes last.
    """
    flush_tree(stage)
    ready = stage.with_name(stage.name.replace(STAGE, PUBLISHING))
    stage.rename(ready)
    flush(folder)
    _finish_publishing(ready, folder)


def supersede(
    folder: Path, by: str, written: Path, checkpoints: Collection[str], results: bool
) -> None:
    """Notes what goes once the file `written` stands in `folder` as `by`.

    The rename that puts it there decides. A kill before it costs what is new; after
    it, what is old goes at `finish_superseding`, or at the next `sweep`. `results`:
    what the report of an earlier run lists goes too.
    """
    descriptor, name = tempfile.mkstemp(prefix=STAGE, dir=folder)
    with open(descriptor, "w", encoding="utf-8") as file:
        note = {"by": by, "sha256": sha256_of(written), "results": results}
        json.dump(note | {"checkpoints": sorted(checkpoints)}, file)
        file.flush()
        os.fsync(file.fileno())
    path = Path(name)
    path.rename(path.with_name(path.name.replace(STAGE, SUPERSEDED)))


def finish_superseding(folder: Path) -> None:
    """Removes what `supersede` noted, if what is new stands."""
    for note in folder.glob(f"{SUPERSEDED}*"):
        _finish_superseding(note, folder)


def remove_results(folder: Path) -> None:
    """Removes what the report in `folder` lists: all of it, if need be at `sweep`."""
    if RunReport.find(folder) is None:
        return
    doomed = Path(tempfile.mkdtemp(prefix=REMOVING, dir=folder))
    (folder / REPORT_FILE).rename(doomed / REPORT_FILE)
    flush(folder)
    _finish_removing(doomed, folder)


def files_of_report(folder: Path) -> set[str]:
    """What the report in `folder` says that its run wrote; nothing without one."""
    report = RunReport.find(folder)
    paths = map(Path, report.files if report else ())
    inside = (
        p for p in paths if p.parts and ".." not in p.parts and "\0" not in str(p)
    )
    return {path.as_posix() for path in inside if not path.is_absolute()}


def require_free(folder: Path, names: Collection[str]) -> None:
    """Raises `InputError` where a name that a run will write is a user's file."""
    for name in sorted({*names} - files_of_report(folder)):
        if os.path.lexists(folder / name):
            raise InputError(
                f"--output_dir {folder}: {name} was not written by an earlier run "
                "and would be replaced. Move it away, or name another --output_dir."
            )


@contextmanager
def write_errors_told(folder: Path) -> Iterator[None]:
    """What the system refuses while inside becomes one sentence, an `InputError`."""
    try:
        yield
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, str) else folder
        if not named.is_relative_to(folder):
            raise InputError(f"{named}: {error.strerror}.") from error
        raise InputError(
            f"--output_dir {folder}: the results cannot be written: "
            f"{error.strerror or error}. What was finished stands; fix that, and give "
            "the same command again."
        ) from error


def _finish_publishing(ready: Path, folder: Path) -> None:
    new = files_in(ready)
    if REPORT_FILE in new:  # without it all is in place
        for name in sorted(files_of_report(folder) - files_of_report(ready)):
            _remove_file(folder, name)
        for name in new:
            if name != REPORT_FILE:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (ready / name).replace(folder / name)
        flush(folder)
        (ready / REPORT_FILE).replace(folder / REPORT_FILE)
        flush(folder)
    delete_tree(ready)


def _finish_superseding(note: Path, folder: Path) -> None:
    try:
        noted = json.loads(note.read_bytes())
        new, sha256, results = folder / noted["by"], noted["sha256"], noted["results"]
        old = [folder / name for name in noted["checkpoints"]]
        sound = all(_CHECKPOINT.fullmatch(name) for name in noted["checkpoints"])
    except (OSError, ValueError, TypeError, KeyError):
        sound = False
    if not sound:  # `supersede` did not write it: nothing goes on its word
        raise InputError(
            f"--output_dir {folder}: {note.name} there is damaged. Move it away."
        )
    if new.is_file() and sha256_of(new) == sha256:
        flush(folder)  # the new name is on the disk before the old ones go
        if results:
            remove_results(folder)
        for path in old:
            if path.is_dir():
                remove_whole(path)
    note.unlink()


def _finish_removing(doomed: Path, folder: Path) -> None:
    for name in sorted(files_of_report(doomed) - {REPORT_FILE}):
        _remove_file(folder, name)
    delete_tree(doomed)


def _remove_file(folder: Path, name: str) -> None:
    """Removes a file, and the folders below `folder` that are empty then."""
    (folder / name).unlink(missing_ok=True)
    for parent in Path(name).parents:
        path = folder / parent
        if path == folder or not path.is_dir() or any(path.iterdir()):
            break
        path.rmdir()
