"""Runs or lists trainers, or pushes: `python -m reference_trainers run|list|push`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from reference_trainers import cli
from reference_trainers.errors import InputError, TrainingStopped
from reference_trainers.files import at_home
from reference_trainers.registry import find_trainer, listed
from reference_trainers.spec_rules import kinds

PROGRAM = "python -m reference_trainers"
TRAINER_HELP = "One that `list` shows, or package.module:attribute of your own."
RUN_USAGE = "--trainer NAME [spec.yaml | spec.json] [--flag value ...]"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments) or ["-h"]
    try:
        first = arguments[0]
        if first == "run":
            return run(arguments[1:])
        if first.startswith("-") and first not in ("-h", "--help"):
            return run(arguments)  # the word was not always needed
        if first not in ("-h", "--help", "list", "push"):
            raise InputError(f"{first}: no such command; there are: run, list, push.")
        asked = vars(_parser().parse_args(arguments))
        asked.pop("traceback", None)
        if first == "push":
            return push(**asked)
        list_trainers(asked["json"])
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # `list | head` has read enough; Python would flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        return cli.refused(error, "--traceback" in arguments)
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = cli.OneSentenceParser(
        prog=PROGRAM, description="Reference trainers.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help=f"run a trainer: {RUN_USAGE}")
    shown = commands.add_parser(
        "list", help="list the trainers that are installed", allow_abbrev=False
    )
    shown.add_argument("--json", action="store_true", help="for programs")
    cli.add_push(commands)
    return parser


def push(output_dir: str, **texts: str) -> int:
    """Pushes what a run left in a folder."""
    from reference_trainers.hub.sharing import push_folder  # here: it needs numpy
    from reference_trainers.life.signals import stop_signals

    flags = {name: kinds()[name].read(text) for name, text in texts.items()}
    folder = at_home(output_dir)
    with stop_signals() as stopping:
        report = push_folder(folder, stopping.exit_status, **flags)
    if report.push is not None and report.push["problem"] is None:
        print(report.push["url"])
    return cli.pushed_or_told(report)


def run(arguments: list[str]) -> int:
    """`run --trainer NAME`, and the command line of that trainer."""
    name, rest = _trainer_name(arguments)
    if name is None and any(argument in ("-h", "--help") for argument in arguments):
        parser = cli.parser(f"{PROGRAM} run --trainer NAME")
        parser.add_argument("--trainer", metavar="NAME", help=TRAINER_HELP)
        parser.print_help()
        return 0
    if name is None:
        raise InputError("--trainer: say which one; `list` shows them.")
    program = f"{PROGRAM} run --trainer {name}"
    return cli.main(find_trainer(name), rest, program)


def _trainer_name(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of --trainer, and the other arguments."""
    name, rest = None, []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--trainer":
            name = next(waiting, None)
        elif argument.startswith("--trainer="):
            name = argument.partition("=")[2]
        else:
            rest.append(argument)
    return name, rest


def list_trainers(as_json: bool) -> None:
    """Each trainer and whether it can run here, and the libraries that they need."""
    trainers = listed()
    if as_json:
        print(json.dumps([asdict(trainer) for trainer in trainers]))
        return
    for trainer in trainers:
        versions = ", ".join(f"{n} {v}" for n, v in trainer.versions.items())
        state = "runs here" if trainer.runs_here else f"cannot run: {trainer.reason}"
        print(f"{trainer.name:12} {state}  ({versions or 'no versions'})")
    print(f"\n{'library':18} {'here':12} {'which is':14} supported")
    for library in dict.fromkeys(each for t in trainers for each in t.libraries):
        name, here = library.name, library.here or "-"
        print(f"{name:18} {here:12} {library.state:14} {library.bounds or 'any'}")


if __name__ == "__main__":
    raise SystemExit(main())
