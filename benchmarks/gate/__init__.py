"""`python -m benchmarks gate`: is this version slower than that one?

Nothing is imported here: `witness` is a plugin of processes in which another version
of `reference_trainers` stands.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    from benchmarks.gate.command import main

    return main(arguments)
