"""`python -m conformance`: compare trainers on one spec, or record the trace anew."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import trace
from conformance.compare import command
from reference_trainers.cli import exit_with
from reference_trainers.errors import InputError

COMPARE_HELP = """\
Runs one spec through several trainers, each in its own process, one after another,
and writes compare.html and compare.json into --output_dir, beside a folder a trainer.

All other arguments are those of a run: an optional spec file, then flags
(`python -m reference_trainers -h` lists them).

Exit status: 0 when two or more trainers finished and were compared, whether or not
they agree (the table and the page say so); 1 when a trainer failed or nothing was
compared; 2 for bad input."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance", description=__doc__, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="run one spec through several trainers and compare them",
        description=COMPARE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --trainers all|NAME,NAME,... [--note TEXT] [spec.yaml] "
        "[--flag value ...]",
        allow_abbrev=False,  # --trainer and --train must not pass for --trainers
    )
    compare.add_argument(
        "--trainers",
        required=True,
        help="'all' (those that can run here), or names separated by commas; "
        "package.module:attribute names a trainer that is not installed",
    )
    compare.add_argument("--note", help="a paragraph to show on the page")
    record = commands.add_parser("record", help="record the float64 trace anew")
    record.add_argument("path", type=Path, help="fixtures/traces/float64.json")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    ours, of_the_run = _parser().parse_known_args(argv)
    # As an exception, so that the trainer's process is not left behind
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if ours.command == "record":
            trace.record(ours.path)
            return 0
        return command.main(ours.trainers, of_the_run, ours.note)
    except InputError as error:
        exit_with(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
