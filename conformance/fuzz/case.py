"""One input of the fuzz: what it is, its command, and whether it has to be refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from reference_trainers import flags_of_dict

TRAINER = "fixtures.numpy_backend:TRAINER"
RUN = ("run", "--trainer", TRAINER)
OUTPUT = "out"
# A run of one small step
SMALL: dict[str, Any] = {
    "output_dir": OUTPUT,
    "max_steps": 1,
    "max_train_samples": 4,
    "max_eval_samples": 2,
    "max_predict_samples": 2,
    "per_device_train_batch_size": 2,
    "max_source_length": 16,
    "max_target_length": 8,
    "save_strategy": "no",
    "disable_tqdm": True,
}
# Texts that a value, a name or a cell may turn out to be
ODD = (
    *("", " ", "\0", "a\0b", "a\nb", "\r\n", "\u2028", "\u0085", "\x1b[31mred", "\t"),
    *("é", "東京", "🙂", "\u202eabc", "\ufeff", "\udcff", "\ud800", "e\u0301"),
    *("%s", "%(prog)s", "%", "&", "@x", "; ls", "`ls`", "$(ls)"),
    *("-", "--", "=", "{}", "{0}", "$HOME", "~", "~nosuchuser/x", ".", "a/b", "a/b/c"),
    *("nan", "inf", "-inf", "1e999", "-1", "0", "00", "1_0", "１", "0x10", "1e3"),
    *("1.5", "None", "null", "true", "no", "'", '"', "\\", "# no", "[1, 2]", "{a: 1}"),
    *("a" * 300, "x" * 100_000, "9" * 5000, "/dev/null", "/dev/null/x"),
)


@dataclass(frozen=True)
class Case:
    """An input in a folder of its own, in which its command runs."""

    told: str
    """What was made, in words."""
    arguments: tuple[str, ...]
    must_fail: bool = False
    """Whether it is known to be malformed: else it may turn out to be fine."""
    named: tuple[str, ...] = ("--",)
    """A refusal names one of these at least."""


@dataclass(frozen=True)
class Inputs:
    """What sound runs read; nothing may change it."""

    model: Path
    rows: Path
    stopped: Path
    """An output folder with two checkpoints, and no results yet."""
    finished: Path
    """The same run at its end."""

    def flags(self) -> dict[str, Any]:
        """A small run, but for what it is to do."""
        rows = str(self.rows)
        files = {f"{split}_file": rows for split in ("train", "validation", "test")}
        return {**SMALL, "model_name_or_path": str(self.model), **files}


class Maker(Protocol):
    """Makes one input in a folder that is empty; the same for the same `chance`."""

    def __call__(self, chance: Random, folder: Path, inputs: Inputs) -> Case: ...


def command(*more: str, **flags: Any) -> tuple[str, ...]:
    """The command line of a run with these flags, `more` before them."""
    return (*RUN, *more, *flags_of_dict(flags))


def short(value: object) -> str:
    """For a description."""
    text = ascii(value)
    return text if len(text) < 80 else f"{text[:60]}... ({len(text)} characters)"


def damaged_bytes(chance: Random, content: bytes) -> tuple[str, bytes]:
    """Content with one accident, and what that was."""
    at = chance.randrange(len(content) + 1)
    match chance.choice(("cut", "flip", "insert", "remove", "empty", "double", "zero")):
        case "cut":
            return f"cut off at byte {at}", content[:at]
        case "flip" if at < len(content):
            bit = 1 << chance.randrange(8)
            flipped = content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]
            return f"bit {bit} of byte {at} flipped", flipped
        case "insert":
            new = chance.randbytes(chance.randint(1, 9))
            return f"{new!r} put in at byte {at}", content[:at] + new + content[at:]
        case "remove":
            end = at + chance.randint(1, 99)
            return f"bytes {at} to {end} taken out", content[:at] + content[end:]
        case "double":
            return "its content twice", content * 2
        case "zero":
            return f"zeros from byte {at} on", content[:at] + bytes(len(content) - at)
    return "empty", b""
