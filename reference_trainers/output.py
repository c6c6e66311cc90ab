"""The output folder: what may be there, and how results get there whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference_trainers.errors import InputError
from reference_trainers.spec import TrainingSpec

CHECKPOINT = "checkpoint-"
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


def check_output_folder(spec: TrainingSpec) -> None:
    """Refuses a folder whose content a run would mix with its own."""
    folder = output_folder(spec)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output_dir {folder}: is a file, not a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not spec.overwrite_output_dir:
        raise InputError(
            f"{folder} holds no checkpoint and is not empty. "
            "Name another --output_dir, or pass --overwrite_output_dir."
        )


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder for results that are not finished; gone at the end, whatever happens.

    `publish` moves its files into `folder`. Where the run fails before, nothing is left
    behind, not even `folder` if it was not there before.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    stage = folder / f".results-{os.getpid()}"
    try:
        stage.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"--output_dir {folder}: cannot be written: {error.strerror}."
        ) from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for path in missing:  # the innermost first; one that holds results stays
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def publish(stage: Path, folder: Path) -> list[str]:
    """Moves every staged file into `folder`, flushed; the names, sorted."""
    names = []
    for path in sorted(stage.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            name = path.relative_to(stage)
            (folder / name).parent.mkdir(exist_ok=True)
            path.replace(folder / name)
            names.append(name.as_posix())
    return names


def remove_results(folder: Path, keep: set[str]) -> None:
    """Removes what an earlier run left, but for `keep`; other files stay."""
    for path in folder.iterdir():
        ours = path.name in RESULT_FILES or path.name.startswith(CHECKPOINT)
        if ours and path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
