"""RunReport and the result files: what a run says about itself, written whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from reference_trainers.errors import InputError
from reference_trainers.spec import TrainingSpec

SCHEMA = 2  # of run_report.json; raised when a field changes its meaning
ROWS_LISTED = 10_000  # of a run with more rows a step names a digest of its rows
REPORT_FILE = "run_report.json"
PREDICTIONS_FILE = "generated_predictions.txt"
PREDICTIONS_JSONL = "predictions.jsonl"
NEEDED = ("model_name_or_path", "output_dir", "push_to_hub")  # of the spec in a report


@dataclass(frozen=True)
class StepRecord:
    """One update."""

    step: int
    """From 0; the update's learning rate is that of the schedule at this step."""
    epoch: float
    """Epochs done after the update."""
    row_ids: list[int] | str
    """Numbers of its rows in their file, from 0; of a large run: their SHA-256."""
    learning_rate: float
    loss: float
    """Mean token loss of the global batch, label smoothing included."""
    grad_norm: float
    """Global norm of the averaged gradient, before clipping; infinite, and null on
    disk, where fp16 overflowed, as the loss is if it did."""
    target_tokens: int
    seconds: float
    """Wall-clock time since the step before it ended, or since training began; without
    the evaluations and saves between them."""
    compiled: bool = False
    """Whether a program was compiled in it."""
    applied: bool = True
    """False: fp16 overflowed, and the step changed no parameter."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        numbers = {"loss": self.loss, "grad_norm": self.grad_norm}
        told = {n: x if math.isfinite(x) else None for n, x in numbers.items()}
        return asdict(self) | told

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> StepRecord:
        """The reverse of `as_dict`."""
        numbers = {n: content[n] for n in ("loss", "grad_norm")}
        read = {n: math.inf if x is None else x for n, x in numbers.items()}
        return cls(**{**content, **read})


@dataclass(frozen=True)
class SplitReport:
    """Where the rows of a split came from, and what became of them."""

    rows: int
    """Rows that were used."""
    dropped: int
    """Rows left out because their text or summary is missing or empty."""
    source: str
    digest: str
    """Changes with the tokens of the rows or their order; hexadecimal."""


@dataclass
class RunReport:
    """All that a run says about itself; `run_report.json`."""

    trainer: str
    spec: dict[str, Any]
    spec_hash: str
    schema: int = SCHEMA
    status: str = "finished"
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    """devices, device kind, cores, memory in bytes."""
    splits: dict[str, SplitReport] = field(default_factory=dict)
    """By name: train, validation, test."""
    total_steps: int = 0
    identity: dict[str, Any] = field(default_factory=dict)
    """What may not change at a resume; empty where nothing was trained."""
    model_step: int | None = None
    """The step whose weights were published, the best's where that was asked for; None:
    no model was trained."""
    resumed_at: int | None = None
    """The step that a resumed run went on from."""
    steps: list[StepRecord] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """Metrics of each evaluation while training, with its step."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Where a resumed run went on with another learning rate, schedule or length: the
    step, and each flag with both values."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Everything in all_results.json; None: a loss that is not finite."""
    compilations: int | None = None
    """Programs compiled, where the framework compiles."""
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    """host, and device where there is one."""
    added: list[dict[str, Any]] = field(default_factory=list)
    """Evaluations that a later run added: its trainer, the hash of its spec, the flags
    in which that differs from `spec`, and the names of its metrics."""
    push: dict[str, Any] | None = None
    """How the result was pushed: repository, url and commit, or the problem; and the
    same of each checkpoint that was, as `earlier`."""
    warnings: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Every file written, relative to the output folder."""

    def as_json(self) -> str:
        steps = [step.as_dict() for step in self.steps]
        return json_text(asdict(replace(self, steps=[])) | {"steps": steps})

    @classmethod
    def read(cls, folder: Path) -> RunReport:
        """The report in an output folder."""
        return cls.of((folder / REPORT_FILE).read_text(encoding="utf-8"))

    @classmethod
    def of(cls, text: str) -> RunReport:
        """The reverse of `as_json`."""
        content = json.loads(text)
        content["steps"] = [StepRecord.of(step) for step in content["steps"]]
        content["splits"] = {
            name: SplitReport(**split) for name, split in content["splits"].items()
        }
        return cls(**content)

    @classmethod
    def find(cls, folder: Path) -> RunReport | None:
        """The report in an output folder; None where there is none of this schema."""
        try:
            report = cls.read(folder)
            for part in (report, *report.splits.values(), *report.steps):
                require_types(part)
            TrainingSpec(**report.spec)
        except (InputError, OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        sound = report.schema == SCHEMA and report.spec.keys() >= {*NEEDED}
        return report if sound else None


def row_ids_of(row_ids: np.ndarray, rows: int) -> list[int] | str:
    """How a step's rows are reported, in a run over `rows` rows."""
    if rows <= ROWS_LISTED:
        return row_ids.tolist()
    return hashlib.sha256(row_ids.astype("<i8").tobytes()).hexdigest()


def json_text(content: Any) -> str:
    """Readable JSON; floats keep every digit, so that they read back equal."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A name of bytes that are no UTF-8 is half a character, which no file takes
    return text.encode(errors="backslashreplace").decode()


def require_types(record: Any) -> None:
    """Raises TypeError where a field of a dataclass, or a member of its list, is of
    another type than is declared: it was read from a file, which may say anything."""
    kind: Any = type(record)
    for name, kinds, members in _types_of(kind):
        value = getattr(record, name)
        if kinds and type(value) not in kinds:
            raise TypeError(f"{name} is {json.dumps(value)}")
        if members and isinstance(value, (list, dict)):
            held = value.values() if isinstance(value, dict) else value
            if not {*map(type, held)} <= members:
                raise TypeError(f"{name} is {json.dumps(value)}")


@cache
def _types_of(kind: type) -> list[tuple[str, set[type], set[type]]]:
    """Each field: its types, and those of its members; none where all will do."""
    return [(name, *_types_in(hint)) for name, hint in get_type_hints(kind).items()]


def _types_in(hint: Any) -> tuple[set[type], set[type]]:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (list, dict, Mapping):
        return {list if origin is list else dict}, _types_in(parts[-1])[0]
    if parts:  # one of several
        found = [_types_in(part) for part in parts]
        kinds, members = zip(*found, strict=True)
        return set().union(*kinds), set().union(*members)
    if hint is Any:
        return set(), set()
    return ({float, int} if hint is float else {hint}), set()
