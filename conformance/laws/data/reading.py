"""What a run reads: shown by an evaluation alone, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.runs import Finished, Runs
from fixtures.custom_files import GOOD_FILES
from reference_trainers import SplitReport

SPLITS = {
    "train": ("do_train", "max_train_samples", "train_file"),
    "validation": ("do_eval", "max_eval_samples", "validation_file"),
    "test": ("do_predict", "max_predict_samples", "test_file"),
}

# Evaluation alone, in one batch: what a run reads shows without training
READ: dict[str, Any] = {
    "do_train": False,
    "do_eval": True,
    "per_device_eval_batch_size": 16,
    "max_eval_samples": None,
}


def read(run: Runs, file: Path | None, **flags: Any) -> Finished:
    if file is not None:
        flags["validation_file"] = str(file)
    return run(**{**READ, **flags})


def split(made: Finished, name: str = "validation") -> SplitReport:
    return made.report.splits[name]


def read_two(run: Runs, validation: Path, test: Path, **flags: Any) -> Finished:
    """Both files in one run, as rows to evaluate on and rows to predict."""
    flags = {"do_predict": True, "max_predict_samples": None, **flags}
    return read(run, validation, test_file=str(test), **flags)


def plain(run: Runs, files: Path, **flags: Any) -> Finished:
    """A run over the usual rows, as JSON Lines."""
    return read(run, GOOD_FILES["plain.jsonl"].write_in(files), **flags)


def assert_two_alike(made: Finished, why: str) -> None:
    """The run reads the same tokens from its two files."""
    first, second = split(made), split(made, "test")
    assert (first.rows, first.digest) == (second.rows, second.digest), (
        f"{second.source} reads as other tokens than {first.source}: {why}"
    )


def assert_same_rows(made: Finished, expected: Finished) -> None:
    """Both read the same tokens, in the same order."""
    assert split(made).digest == split(expected).digest, (
        f"{split(made).source} reads as other tokens than {split(expected).source}"
    )
    assert split(made).rows == split(expected).rows
    assert made.report.metrics["eval_loss"] == expected.report.metrics["eval_loss"]
