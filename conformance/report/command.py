"""Reads records, and writes the matrix, a badge and a summary of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from conformance.catalogue import laws
from conformance.report.badge import badge
from conformance.report.cells import matrix
from conformance.report.changes import changes
from conformance.report.page import page
from conformance.report.records import read_record
from conformance.report.summary import summary
from conformance.report.verdict import verdict_of
from reference_trainers import InputError, write_whole


def main(
    records: Sequence[Path],
    output: Path,
    before: Sequence[Path] = (),
    badge_file: Path | None = None,
    summary_file: Path | None = None,
) -> int:
    """The exit status: 0 where nothing is bad, else 1."""
    flags = {"-o": output, "--badge": badge_file, "--summary": summary_file}
    files = {flag: path for flag, path in flags.items() if path is not None}
    _check(files, [*records, *before])
    catalogue = laws()
    read = [read_record(path) for path in records]
    former = [read_record(path) for path in before]
    found = matrix(read, catalogue)
    verdict = verdict_of(found, read)
    changed = changes(matrix(former, catalogue), found) if before else None
    texts = {
        "-o": page(found, read, verdict, datetime.now(UTC), changed),
        "--badge": badge(verdict),
        "--summary": summary(found, read, verdict),
    }
    for flag, path in files.items():
        try:
            write_whole(path, texts[flag])
        except OSError as error:
            raise InputError(f"{flag} {path}: {error.strerror}.") from error
    print(f"{verdict.heading}\npage: {output}")
    return int(verdict.bad)


def _check(files: dict[str, Path], records: Sequence[Path]) -> None:
    """What cannot be written is told before anything is."""
    taken = {path.resolve(): f"the record {path}" for path in records}
    for flag, path in files.items():
        if path.is_dir():
            raise InputError(f"{flag} {path}: it is a folder; name a file.")
        if not path.absolute().parent.is_dir():
            raise InputError(f"{flag} {path}: there is no folder {path.parent}.")
        place = path.resolve()
        if place in taken:
            raise InputError(f"{flag} {path}: it would replace {taken[place]}.")
        taken[place] = f"what {flag} writes"
