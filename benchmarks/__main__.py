"""`python -m benchmarks`: is this version slower, and which hardware is faster?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("gate", "report")


def main(arguments: Sequence[str]) -> int:
    """The exit status; a command reads its own flags."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m benchmarks {'|'.join(COMMANDS)} [-h]", file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    command = import_module(f"benchmarks.{arguments[0]}")
    return int(command.main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
