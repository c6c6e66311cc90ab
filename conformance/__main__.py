"""`python -m conformance`: compare trainers, report on laws, and more."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from conformance.fuzz import command as fuzz
from reference_trainers import TRACEBACK_HELP, InputError, exit_with

COMPARE_HELP = """\
Runs one spec through several trainers, each in its own process, and writes
compare.html and compare.json into --output_dir, beside a folder a trainer.

All other arguments are those of a run: an optional spec file, then flags
(`python -m reference_trainers run -h` lists them).

Exit status: 0 when two or more trainers finished and agree within tolerance; 1 when
they differ, a trainer failed or nothing was compared; 2 for bad input. With --look
trainers that differ are shown, and are no failure."""

REPORT_HELP = """\
Shows records of the suite (`pytest conformance --record RUN.json`) as one HTML page:
what became of each law on each trainer and profile. Records of several machines stand
side by side.

Exit status: 0 when nothing is bad; 1 when a law is broken, a limit is lifted, a test
failed outside of laws, a record is cut off or no law is kept; 2 for bad input."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of argparse's page of usage."""
        raise InputError(f"{message.removeprefix('argument ').rstrip('.')}. See -h.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m conformance", description=__doc__, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="run one spec through several trainers and compare them",
        description=COMPARE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s --trainers all|NAME,NAME,... [--jobs N] [--note TEXT] "
        "[spec.yaml] [--flag value ...]",
        allow_abbrev=False,  # --trainer and --train must not pass for --trainers
    )
    compare.add_argument(
        "--trainers",
        required=True,
        help="'all' (those that can run here), or names separated by commas; "
        "package.module:attribute names a trainer that is not installed",
    )
    compare.add_argument(
        "--look", action="store_true", help="end with 0 where trainers differ, too"
    )
    compare.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainers that run at a time; more than one each slows the others, so "
        "their speeds say little; default: 1",
    )
    compare.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)
    profiles = "list the profiles that laws are tested on"
    commands.add_parser("profiles", help=profiles, description=profiles)
    catalogue = "list every law, by chapter, as docs/laws.md has them"
    commands.add_parser("laws", help=catalogue, description=catalogue)
    compare.add_argument("--note", help="a paragraph to show on the page")
    record = commands.add_parser("record", help="record float64 traces anew")
    record.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="TRACE.json",
        help="such as fixtures/traces/recipe.json: a trace goes by its file's name",
    )
    _add_report(commands)
    fuzz.add_to(commands)
    return parser


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report",
        help="show what became of each law as a page",
        description=REPORT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    file = {"type": Path, "metavar": "FILE"}
    report.add_argument("records", nargs="+", type=Path, metavar="RUN.json")
    report.add_argument(
        "-o", "--output", required=True, **file, help="the page, such as matrix.html"
    )
    report.add_argument(
        "--before",
        action="append",
        default=[],
        **file,
        help="a record of a former run, to show what changed; may be given again",
    )
    report.add_argument("--badge", **file, help="write a badge, too, such as badge.svg")
    report.add_argument(
        "--summary", **file, help="write Markdown for the page of a CI job, too"
    )
    report.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)


def print_profiles() -> None:
    """A line each: name, precision, devices, and why it is not here."""
    from conformance.profiles import PROFILES  # here: a wrong word needs no library

    for profile in PROFILES.values():
        devices = f"{profile.devices} device{'s' * (profile.devices > 1)}"
        state = profile.missing() or "is here"
        print(f"{profile.name:12} {profile.precision:8} {devices:10} {state}")


def _report(ours: argparse.Namespace, unknown: Sequence[str]) -> int:
    from conformance.report import command

    if unknown:
        raise InputError(f"unrecognized arguments: {' '.join(unknown)}. See -h.")
    return command.main(
        ours.records, ours.output, ours.before, ours.badge, ours.summary
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status."""
    try:
        ours, of_the_run = _parser().parse_known_args(argv)
    except InputError as error:
        exit_with(error, "--traceback" in (sys.argv if argv is None else argv))
    # As an exception, so that the trainer's process is not left behind
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if ours.command in ("record", "profiles", "laws") and of_the_run:
            raise InputError(f"unrecognized arguments: {' '.join(of_the_run)}. See -h.")
        if ours.command == "record":
            from conformance.traces.record import record

            record(ours.paths)
            return 0
        if ours.command == "profiles":
            print_profiles()
            return 0
        if ours.command == "laws":
            from conformance.catalogue import markdown

            print(markdown(), end="")
            return 0
        if ours.command == "report":
            return _report(ours, of_the_run)
        if ours.command == "fuzz":
            return fuzz.main(ours, of_the_run)
        from conformance.compare import command

        if ours.jobs < 1:
            raise InputError(f"--jobs {ours.jobs}: give 1 or more.")
        return command.main(ours.trainers, of_the_run, ours.look, ours.note, ours.jobs)
    except InputError as error:
        exit_with(error, with_traceback=getattr(ours, "traceback", False))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
