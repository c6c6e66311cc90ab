"""The command line of the gate."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from benchmarks.gate import floors, simulation, table
from benchmarks.gate.checkouts import checked_out
from benchmarks.gate.processes import HERE, Suite, check_tools
from benchmarks.gate.session import compare
from benchmarks.gate.statistics import INCONCLUSIVE, REGRESSION, Rules
from benchmarks.output import check_output, write_output
from conformance.profiles import PROFILES
from reference_trainers import TRACEBACK_HELP, InputError, exit_with

REGRESSED, LOST, UNDECIDED = 1, 3, 4  # exit statuses

DESCRIPTION = """\
Is head slower than base? Runs the benchmarks of this checkout on both versions, in
interleaved pairs of fresh processes, and tests the log ratios over the pairs.

Exit status: 0; 1 for a regression; 2 for bad input; 3 where a benchmark of base is
lost in head; 4 with --fail-on-inconclusive, where one is inconclusive."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence instead of argparse's page of usage."""
        raise InputError(f"{message.removeprefix('argument ').rstrip('.')}. See -h.")


def _parser() -> argparse.ArgumentParser:
    rules = Rules()
    parser = _Parser(
        prog="python -m benchmarks gate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--base", metavar="REF", help="the commit to compare with")
    what.add_argument(
        "--floor",
        nargs="+",
        type=Path,
        metavar="RECORD.json",
        help="instead: is trainer / floor of these records, a process each, as good as "
        "in benchmarks/records/ for this kind of machine?",
    )
    what.add_argument(
        "--simulate",
        type=int,
        metavar="RUNS",
        help="instead: measure the gate's own error rates, by so many runs a line",
    )
    _add_how(parser, rules)
    return parser


def _add_how(parser: argparse.ArgumentParser, rules: Rules) -> None:
    parser.add_argument(
        "--head", metavar="REF", help="the commit to judge; default: the working tree"
    )
    parser.add_argument(
        "-k", dest="expression", metavar="EXPR", help="only benchmarks that match"
    )
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="hardware and precision, as `python -m conformance profiles` lists them",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="begin no look that would end later; default: no end but the "
        f"{rules.looks[-1]} pairs",
    )
    parser.add_argument(
        "--alpha",
        type=float,
        default=rules.alpha,
        help="chance that a run without a change reports a regression; "
        f"default: {rules.alpha}",
    )
    parser.add_argument(
        "--smallest",
        type=float,
        default=rules.smallest,
        help="smallest slowdown of interest, as a share of base's time; "
        f"default: {rules.smallest}",
    )
    parser.add_argument(
        "--fail-on-inconclusive",
        action="store_true",
        help=f"end with {UNDECIDED} where a benchmark is inconclusive",
    )
    parser.add_argument(
        "--seed", type=int, help="of orders and of simulated noise; default: 0"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all values and verdicts, too"
    )
    parser.add_argument("--traceback", action="store_true", help=TRACEBACK_HELP)
    parser.epilog = (
        "What stands after -- is for the suite: --quick, --trainer NAME, --batch ROWS; "
        "python -m benchmarks gate --base main -- --quick"
    )


UNUSED: dict[str, tuple[str, ...]] = {
    "base": (),
    "floor": ("head", "expression", "profile", "budget", "seed", "to_pytest"),
    "simulate": ("head", "expression", "profile", "budget", "json", "to_pytest"),
}
"""Flags that say nothing of it: refused, not ignored."""


def main(arguments: Sequence[str], root: Path = HERE) -> int:
    """The exit status. `root`: the checkout whose benchmarks are run."""
    try:
        ours, to_pytest = _split(arguments)
        asked = _parser().parse_args(ours)
        asked.to_pytest = to_pytest
    except InputError as error:
        exit_with(error, "--traceback" in arguments)
    # As an exception, so that no process and no folder is left behind
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        rules = _checked(asked)
        if asked.simulate is not None:
            return _simulate(asked.simulate, rules, asked.seed or 0)
        if asked.floor is not None:
            return _floor(asked, rules, root)
        return _gate(asked, rules, root)
    except InputError as error:
        exit_with(error, with_traceback=asked.traceback)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, before)


def _split(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """What stands before and after --; None: there is no such thing."""
    given = list(arguments)
    if "--" not in given:
        return given, None
    place = given.index("--")
    return given[:place], tuple(given[place + 1 :])


def _checked(asked: argparse.Namespace) -> Rules:
    what = next(name for name in UNUSED if getattr(asked, name) is not None)
    for name in UNUSED[what]:
        if getattr(asked, name) is not None:
            flag = {"expression": "-k", "to_pytest": "--"}.get(name, f"--{name}")
            raise InputError(f"{flag} says nothing of --{what}; leave it out.")
    if not 0 < asked.alpha < 0.5:
        raise InputError(f"--alpha {asked.alpha}: give a chance between 0 and 0.5.")
    if not 0 <= asked.smallest < 1:
        raise InputError(
            f"--smallest {asked.smallest}: give a share such as 0.03, for 3 %."
        )
    if asked.budget is not None and not asked.budget > 0:
        raise InputError(f"--budget {asked.budget}: give seconds, more than 0.")
    if asked.simulate is not None and asked.simulate < 1:
        raise InputError(f"--simulate {asked.simulate}: give 1 or more runs.")
    if asked.simulate is not None and asked.fail_on_inconclusive:
        raise InputError("--fail-on-inconclusive says nothing of --simulate.")
    if asked.json is not None:
        check_output("--json", asked.json)
    return Rules(alpha=asked.alpha, smallest=asked.smallest)


def _gate(asked: argparse.Namespace, rules: Rules, root: Path) -> int:
    check_tools(root)
    budget = float("inf") if asked.budget is None else asked.budget
    suite = _suite(asked, root)
    with checked_out(root, asked.base, asked.head) as (base, head):
        outcome = compare(suite, base, head, rules, budget, asked.seed or 0)
    print(table.heading(base.label, head.label, outcome.pairs, rules))
    print(table.of_outcome(outcome))
    if budget_ended := table.budget_told(outcome, rules):
        print(budget_ended)
    if asked.json is not None:
        text = table.json_of(outcome, base.label, head.label, rules, asked.seed or 0)
        write_output("--json", asked.json, text)
    verdicts = {judged.verdict for judged in outcome.judged}
    return _status(verdicts, bool(outcome.lost), asked.fail_on_inconclusive)


def _suite(asked: argparse.Namespace, root: Path) -> Suite:
    flags: tuple[str, ...] = asked.to_pytest or ()
    if asked.profile is None:
        return Suite(root, asked.expression, flags)
    if asked.profile not in PROFILES:
        raise InputError(
            f"--profile {asked.profile}: no such profile; there are: "
            f"{', '.join(PROFILES)}."
        )
    profile = PROFILES[asked.profile]
    flags = ("--profile", profile.name, *flags)
    return Suite(root, asked.expression, flags, profile.environment)


def _floor(asked: argparse.Namespace, rules: Rules, root: Path) -> int:
    records = root / "benchmarks/records"
    outcome = floors.compare(asked.floor, records, rules)
    print(floors.table_of(outcome, rules))
    if asked.json is not None:
        write_output("--json", asked.json, floors.json_of(outcome, rules))
    verdicts = {judged.verdict for judged in outcome.judged}
    return _status(verdicts, bool(outcome.lost), asked.fail_on_inconclusive)


def _status(verdicts: set[str], lost: bool, fail_on_inconclusive: bool) -> int:
    if REGRESSION in verdicts:
        return REGRESSED
    if lost:
        return LOST
    return UNDECIDED if fail_on_inconclusive and INCONCLUSIVE in verdicts else 0


def _simulate(runs: int, rules: Rules, seed: int) -> int:
    """1: more false alarms than alpha allows."""
    print(
        f"{runs} runs a line, {simulation.BENCHMARKS} benchmarks each; looks after "
        f"{', '.join(map(str, rules.looks))} pairs; alpha {rules.alpha:g}, smallest "
        f"slowdown of interest {rules.smallest:.1%}, seed {seed}\n"
    )
    print(simulation.HEADING)
    found = []
    lines = simulation.all_rates(runs, rules, seed)
    for rates in tqdm(lines, total=simulation.LINES, unit="line", disable=None):
        found.append(rates)
        tqdm.write(simulation.line(rates), file=sys.stdout)
    said, holds = simulation.report(found, rules)
    print(f"\n{said}")
    return 0 if holds else REGRESSED
