"""A model's folder: a local one as it is, a Hub name after its download."""

from __future__ import annotations

import sys
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars

from reference_trainers.errors import InputError, sentence_of
from reference_trainers.files import at_home, refusals_told
from reference_trainers.spec import TrainingSpec

# What a seq2seq model needs; the pickled weights beside it stay where they are
DOWNLOADED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def folder_of(name: str, flag: str, spec: TrainingSpec) -> Path:
    """Where the files of a model, config or tokenizer lie.

    Raises `InputError`, which begins with `flag`, where there is nothing to read.
    """
    path = at_home(name)
    with refusals_told(flag):
        if path.is_dir():
            return path
        exists = path.exists()
    if exists or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{flag}: no such folder.")
    if spec.disable_tqdm or not sys.stderr.isatty():
        disable_progress_bars()
    patterns = [*DOWNLOADED, "*.py"] if spec.trust_remote_code else DOWNLOADED
    try:
        return Path(
            snapshot_download(
                name,
                revision=spec.model_revision,
                cache_dir=spec.cache_dir,
                token=spec.token,
                allow_patterns=patterns,
            )
        )
    except Exception as error:  # the Hub's client raises its HTTP library's errors too
        raise InputError(f"{flag}: {_reason(error, spec)}") from error


def _reason(error: Exception, spec: TrainingSpec) -> str:
    if isinstance(error, GatedRepoError):  # a kind of the next
        return (
            "access to it is restricted. Ask for it on its page of the Hub, and log in "
            "by `hf auth login`, or give --token."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            "neither a folder nor a model of the Hub, or a private one: log in by "
            "`hf auth login`, or give --token."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"has no --model_revision {spec.model_revision}."
    if isinstance(error, LocalEntryNotFoundError):
        return "neither a folder nor in the cache, and the Hub does not answer."
    return f"neither a folder nor a model that the Hub gave: {sentence_of(error)}"
