"""Which splits a run needs, and whether their files are there; reads no file.

Imports no library, so that a wrong name is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reference_trainers.data.lines import UNPACKED_BY
from reference_trainers.errors import InputError
from reference_trainers.files import at_home, refusals_told
from reference_trainers.spec import TrainingSpec

FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json"}


@dataclass(frozen=True)
class Wanted:
    """A split that a run needs."""

    name: str
    """train, validation or test."""
    because: str
    """The flag that asks for it."""
    limit: int | None
    """Only so many of its first rows."""
    file: str | None
    """None: it comes from the dataset."""

    @property
    def flag(self) -> str:
        """What names the file."""
        return f"--{self.name}_file {self.file}"


def wanted_splits(spec: TrainingSpec) -> Iterator[Wanted]:
    """What `do_*` and `eval_strategy` ask for."""
    if spec.do_train:
        file = _at_home(spec.train_file)
        yield Wanted("train", "--do_train", spec.max_train_samples, file)
    evaluates = spec.do_train and spec.eval_strategy != "no"
    if spec.do_eval or evaluates:
        flag = "--do_eval" if spec.do_eval else "--eval_strategy"
        file = _at_home(spec.validation_file)
        yield Wanted("validation", flag, spec.max_eval_samples, file)
    if spec.do_predict:
        file = _at_home(spec.test_file)
        yield Wanted("test", "--do_predict", spec.max_predict_samples, file)


def _at_home(file: str | None) -> str | None:
    """With the home folder for a ~, as a shell leaves it in --train_file=~/x."""
    return None if file is None else os.path.expanduser(file)


def check_files(spec: TrainingSpec) -> None:
    """Raises `InputError` for a split without a source, or with a missing file, and
    where no cache can be kept."""
    if spec.cache_dir is not None:
        check_cache(at_home(spec.cache_dir))
    for split in wanted_splits(spec):
        if split.file is not None:
            format_of(Path(split.file), split.flag)
        elif spec.dataset_name is None:
            raise InputError(
                f"{split.because}: give --{split.name}_file or --dataset_name."
            )


def check_cache(folder: Path) -> None:
    asked = f"--cache_dir {folder}"
    if folder.parts and folder.parts[0].startswith("~"):
        raise InputError(f"{asked}: there is no such user; write ./~ for a folder.")
    with refusals_told(asked):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not there.is_dir():
            raise InputError(f"{asked}: {there} is a file, not a folder.")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{asked}: {there} cannot be written.")


def format_of(path: Path, flag: str) -> str:
    """csv or json, of a file that is there."""
    packed = path.suffix.lower() in UNPACKED_BY
    ending = path.with_suffix("") if packed else path
    kind = FORMATS.get(ending.suffix.lower())
    if kind is None:
        raise InputError(
            f"{flag}: give a .csv, .json or .jsonl file "
            f"(or one of these with {', '.join(UNPACKED_BY)} behind)."
        )
    with refusals_told(flag):
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "no such file"
            raise InputError(f"{flag}: {what}.")
    return kind
