"""The output folder: what may be there, and how results get there whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from reference_trainers.errors import InputError
from reference_trainers.files import STAGE, files_in, flush, sweep
from reference_trainers.spec import TrainingSpec

# Everything that a run can leave in its output folder, beside checkpoints
RESULT_FILES = {
    *("README.md", "run_report.json", "trainer_state.json", "all_results.json"),
    *("train_results.json", "eval_results.json", "predict_results.json"),
    *("generated_predictions.txt", "predictions.jsonl", "training_args.bin"),
    *("model.safetensors", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("spiece.model", "vocab.json", "merges.txt", "added_tokens.json", "runs"),
}


def output_folder(spec: TrainingSpec) -> Path:
    """The folder of a spec, which need not exist yet."""
    if not spec.output_dir:
        raise InputError("--output_dir: say where to write.")
    return Path(spec.output_dir).expanduser()


@dataclass(frozen=True)
class Claim:
    """An output folder that is this run's alone."""

    folder: Path
    stage: Path
    """A folder in it for results that are not finished."""
    occupied: bool
    """Whether something was in the folder."""
    warnings: list[str]


@contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Locks the folder, sweeps it, and makes the stage; the stage is gone at the end.

    `publish` moves the staged files into the folder. Where the run fails before,
    nothing is left behind, not even the folder if it was not there before.
    Raises `InputError` where it is a file, is locked, or can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: is a file, not a folder.")
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    with Lock(folder) as lock:
        try:
            sweep(folder)
            occupied = any(folder.iterdir())
            stage = Path(tempfile.mkdtemp(prefix=f".{STAGE}.writing-", dir=folder))
            stage.chmod(folder.stat().st_mode & 0o777)
        except OSError as error:
            raise InputError(
                f"--output_dir {folder}: cannot be written: {error.strerror}."
            ) from error
        try:
            yield Claim(folder, stage, occupied, lock.warnings)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            for path in missing:  # the innermost first; one that holds results stays
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()


def publish(stage: Path, folder: Path) -> None:
    """Moves every staged file into `folder`, flushed."""
    for name in files_in(stage):
        flush(stage / name)
        (folder / name).parent.mkdir(exist_ok=True)
        (stage / name).replace(folder / name)


def remove_results(folder: Path, keep: set[str]) -> None:
    """Removes results that an earlier run left, but for `keep`; other files stay."""
    for path in folder.iterdir():
        if path.name in RESULT_FILES and path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


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
