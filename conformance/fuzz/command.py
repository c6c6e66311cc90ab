"""`python -m conformance fuzz`: the counts, and each finding with its command."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reference_trainers import InputError

if TYPE_CHECKING:
    from conformance.fuzz.runner import Outcome

HELP = """\
Makes malformed inputs from a seed (flags, spec files, data files, model folders and
checkpoints), runs each through the command line, and checks how it is refused: exit
status 2, one sentence, nothing changed, nothing left.

Exit status: 0 where there is no finding; 1 where there is one; 2 for bad input."""


def add_to(commands: Any) -> None:
    """The command's own flags."""
    fuzz = commands.add_parser(
        "fuzz",
        help="malformed inputs by the thousand: each is refused in one sentence",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    number = {"type": int, "metavar": "N"}
    fuzz.add_argument("--inputs", **number, default=1000, help="how many; default 1000")
    fuzz.add_argument("--seed", **number, default=0, help="of all of them; default 0")
    fuzz.add_argument("--jobs", **number, default=1, help="processes; default 1")
    fuzz.add_argument("--first", **number, default=0, help="the first's number")
    fuzz.add_argument("--only", **number, help="the input of this number alone")


def main(asked: argparse.Namespace, unknown: Sequence[str]) -> int:
    """The exit status."""
    if unknown:
        raise InputError(f"unrecognized arguments: {' '.join(unknown)}. See -h.")
    for name in ("inputs", "jobs"):
        if getattr(asked, name) < 1:
            raise InputError(f"--{name} {getattr(asked, name)}: give 1 or more.")
    numbers = range(asked.first, asked.first + asked.inputs)
    if asked.only is not None:
        numbers = range(asked.only, asked.only + 1)
    from tqdm import tqdm  # here, as `-h` needs no library

    from conformance.fuzz.runner import outcomes
    from conformance.fuzz.worker import MAKERS

    counts: dict[str, Counter[str]] = {kind: Counter() for kind in MAKERS}
    found = 0
    try:
        with tqdm(total=len(numbers), desc="fuzz", unit="input") as bar:
            for outcome in outcomes(numbers, asked.seed, asked.jobs):
                bar.update()
                word = word_of(outcome)
                counts.setdefault(outcome.kind, Counter())[word] += 1
                found += word == "findings"
                if word == "findings" or asked.only is not None:
                    tqdm.write(told(outcome, asked.seed))
    finally:  # of a run that is stopped, too
        print(table(counts))
    return 1 if found else 0


def word_of(outcome: Outcome) -> str:
    if outcome.problems:
        return "findings"
    return "refused" if outcome.status == 2 else "fine"


def told(outcome: Outcome, seed: int) -> str:
    """One input, how it was met, and the command that repeats it."""
    return "\n  ".join(
        [
            f"{outcome.kind} {outcome.number}: {outcome.told}",
            *(f"PROBLEM: {problem}" for problem in outcome.problems),
            f"exit status {outcome.status}: {shortened(outcome.said)}",
            f"python -m conformance fuzz --seed {seed} --only {outcome.number}",
        ]
    )


def shortened(said: str) -> str:
    """Its beginning and its end."""
    said = said.strip()
    return said if len(said) < 3000 else f"{said[:300]} [...] {said[-2000:]}"


def table(counts: dict[str, Counter[str]]) -> str:
    """A line a kind, and one for all."""
    words = ("inputs", "refused", "fine", "findings")
    total: Counter[str] = Counter()
    lines = ["kind        " + "".join(f"{word:>10}" for word in words)]
    for kind, found in counts.items():
        total += found
        lines.append(_line(kind, found))
    return "\n".join([*lines, _line("all", total)])


def _line(kind: str, found: Counter[str]) -> str:
    numbers = (found.total(), found["refused"], found["fine"], found["findings"])
    return f"{kind:12}" + "".join(f"{number:10}" for number in numbers)
