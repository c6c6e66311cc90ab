"""The command line of the hardware report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import NoReturn

from benchmarks.output import check_output, write_output
from benchmarks.reading import Record, read_records
from benchmarks.report.page import ACROSS, page
from reference_trainers import TRACEBACK_HELP, InputError, exit_with

DESCRIPTION = """\
Shows records of the benchmarks (`python -m benchmarks run --json RECORD.json`) as one
HTML page: machines side by side, on one of them or on more and more devices, and one
machine over time.

Exit status: 0; 2 for bad input."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of argparse's page of usage."""
        raise InputError(f"{message.removeprefix('argument ').rstrip('.')}. See -h.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m benchmarks report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD.json")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="the page, such as hardware.html",
    )
    parser.add_argument(
        "--normalize",
        metavar="MACHINE",
        help="begin with figures relative to this machine; the page can choose another",
    )
    parser.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="MACHINE=DOLLARS",
        help="what an hour of a machine costs; may be given again; the page can change "
        "it",
    )
    parser.add_argument(
        "--across",
        default="",
        metavar=",".join(ACROSS),
        help="put these side by side, too, where they differ; the page can choose it",
    )
    parser.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)
    return parser


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    try:
        asked = _parser().parse_args(arguments)
    except InputError as error:
        exit_with(error, "--traceback" in arguments)
    try:
        return _report(asked)
    except InputError as error:
        exit_with(error, with_traceback=asked.traceback)


def _report(asked: argparse.Namespace) -> int:
    _check(asked.output, asked.records)
    records = read_records(asked.records)
    machines = list(dict.fromkeys(record.machine.name for record in records))
    if asked.normalize is not None:
        _known("--normalize", asked.normalize, machines)
    text = page(
        records,
        datetime.now(UTC),
        asked.normalize,
        _prices(asked.price, machines),
        _across(asked.across),
    )
    write_output("-o", asked.output, text)
    print(f"{_told(records, machines)}\npage: {asked.output}")
    return 0


def _told(records: Sequence[Record], machines: Sequence[str]) -> str:
    results = sum(len(record.results) for record in records)
    return (
        f"{len(records)} record{'s' * (len(records) != 1)}, "
        f"{results} result{'s' * (results != 1)}, "
        f"{len(machines)} machine{'s' * (len(machines) != 1)}"
    )


def _known(flag: str, machine: str, machines: Sequence[str]) -> None:
    if machine not in machines:
        raise InputError(
            f"{flag} {machine}: no record is of such a machine; they are of: "
            f"{'; '.join(machines)}."
        )


def _prices(given: Sequence[str], machines: Sequence[str]) -> dict[str, float]:
    """A machine's name may hold an equals sign: the last one counts."""
    prices = {}
    for text in given:
        machine, _, dollars = text.rpartition("=")
        try:
            price = float(dollars)
        except ValueError:
            price = 0.0
        if not machine or not 0 < price < inf:
            raise InputError(f"--price {text}: give MACHINE=DOLLARS, such as x=1.25.")
        _known("--price", machine, machines)
        prices[machine] = price
    return prices


def _across(given: str) -> frozenset[str]:
    words = frozenset(word for word in given.split(",") if word)
    for word in sorted(words - {*ACROSS}):
        raise InputError(f"--across {word}: give some of {', '.join(ACROSS)}.")
    return words


def _check(output: Path, records: Sequence[Path]) -> None:
    """What cannot be written is told before anything is read."""
    check_output("-o", output)
    if output.resolve() in {record.resolve() for record in records}:
        raise InputError(f"-o {output}: it would replace a record.")
