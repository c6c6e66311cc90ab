"""Where the weights of a model lie: one file of safetensors, or an index of several."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from reference_trainers.errors import InputError, sentence_of

ENDING = ".safetensors"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All weights by Hugging Face name; whole in memory."""
    weights: dict[str, np.ndarray] = {}
    for file in weight_files(folder):
        try:
            weights |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file}: cannot be read: {sentence_of(error)}") from error
    return weights


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights, as transformers chooses among them.

    Raises `InputError` for an index that cannot be followed, or leaves the folder.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / WEIGHTS_INDEX
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{index}: cannot be read: {sentence_of(error)}") from error
    except ValueError as error:
        raise InputError(f"{index}: not JSON: {sentence_of(error)}") from error
    for part in ("weight_map", "metadata"):  # transformers wants them both
        if not isinstance(content, dict) or not isinstance(content.get(part), dict):
            raise InputError(f"{index}: not an index of weights: it has no {part}.")
    for weight, name in content["weight_map"].items():
        if not isinstance(name, str):
            raise InputError(
                f"{index}: {weight} is said to be in {name}, which is no file's name."
            )
    names = sorted(set(content["weight_map"].values()))
    for name in names:
        _check_name(index, name)
    return [folder / name for name in names]


def _check_name(index: Path, name: str) -> None:
    """Looks at the text: in a cache of the Hub's, every file is a link to elsewhere."""
    path, problem = Path(name), None
    if path.is_absolute() or ".." in path.parts:
        problem = "lies outside of the folder"
    elif path.suffix != ENDING:  # transformers would read a pickle
        problem = f"is not a {ENDING} file"
    elif not (index.parent / path).is_file():
        problem = "is not in the folder"
    if problem is not None:
        raise InputError(f"{index}: names {name}, which {problem}.")
