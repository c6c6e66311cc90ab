"""The catalogue: every law in words, by chapter.

    python -m conformance laws > docs/laws.md

writes the page from what stands beside each law's test.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from itertools import groupby
from typing import Any

import conformance.laws
from conformance.law import Law, law_of

CHAPTERS = {
    "input": "Flags, files and models that cannot be used.",
    "guide": "The commands of the guide, word for word.",
    "flags": "What a flag does, however and in whatever order it is given.",
    "files": "A user's own files: which rows and which tokens a run takes from them.",
    "truncation": "Limits of samples and lengths: what is cut, and what is left whole.",
    "order": "Which rows make up which update.",
    "arithmetic": "What one update does.",
    "trace": "Against a recorded float64 run of transformers' Seq2SeqTrainer.",
    "parity": "Against transformers' Seq2SeqTrainer, run beside it.",
    "precision": "bf16 and fp16: real, close, and an overflow costs nothing.",
    "devices": "Several devices, in one process or in several.",
    "resume": "A resumed run is the run that was never stopped.",
    "handover": "A checkpoint belongs to no framework.",
    "kills": "A run that is killed, or asked to stop.",
    "damage": "Damaged checkpoints, full disks, planted pickles.",
    "results": "What a run leaves behind, and what opens it.",
    "generation": "The texts that a run writes: what each of its flags asks for.",
    "hub": "Sharing: a push is whole, and made once.",
}
"""What each is about, in the order in which they are shown."""

HEAD = """\
# The laws

What `pytest conformance` tests, on each trainer. `python -m conformance laws` writes
this page. A law is tested where it holds, by default on the profiles in **bold**; one
that takes long has none, and is tested where it is asked for:
`pytest conformance --law ID`. `python -m conformance profiles` lists the profiles.
"""


def law_tests() -> list[Callable[..., Any]]:
    """Every test function of the suite."""
    found = pkgutil.walk_packages(conformance.laws.__path__, "conformance.laws.")
    return [
        value
        for module in found
        if not module.ispkg  # whose attributes are its modules
        for name, value in vars(import_module(module.name)).items()
        if name.startswith("test_")
    ]


def laws() -> dict[str, Law]:
    """All laws by their ids, chapter by chapter."""
    found = [law for law in map(law_of, law_tests()) if law]
    order = list(CHAPTERS)
    found.sort(key=lambda law: order.index(law.chapter))
    return {law.id: law for law in found}


def markdown() -> str:
    """The page."""
    lines = [HEAD]
    found = laws().values()
    for chapter, those in groupby(found, key=lambda law: law.chapter):
        lines += [f"## {chapter}", "", CHAPTERS[chapter], ""]
        lines += ["| law | what holds | profiles |", "|---|---|---|"]
        lines += [f"| `{law.id}` | {law.sentence} | {_where(law)} |" for law in those]
        lines.append("")
    return "\n".join(lines)


def _where(law: Law) -> str:
    default = () if law.is_long else law.by_default
    shown = [f"**{name}**" if name in default else name for name in law.profiles]
    # Named by the number of GPUs that are here, and the page is of every machine
    return ", ".join(re.sub(r"(?<=gpu-[xp])\d+", "N", name) for name in shown)
