"""Measures, compares and shows: `python -m benchmarks run|gate|report`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "run": "measure the trainers on this machine, and leave a record",
    "gate": "compare two commits on this machine, and tell a regression",
    "report": "make a page of records",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; a command is imported when it is named."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print("usage: python -m benchmarks COMMAND ...\n")
        for name, what in COMMANDS.items():
            print(f"  {name:8} {what}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"{name}: no such command; there are: {known}.", file=sys.stderr)
        return 2
    return import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    raise SystemExit(main())
