"""Runs a trainer that dies at a chosen file operation: ``dying.py N ARGUMENTS ...``.

SIGKILL just before the Nth call that makes, flushes or renames a file once training has
begun writing: no handler runs and nothing is cleaned up, as when the power goes.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

OPERATIONS = ("fsync", "rename", "replace", "mkdir")


def main() -> None:
    left = int(sys.argv[1])

    def dying(operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            if "checkpoint-" in repr(arguments) or operation is fsync:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return operation(*arguments, **more)

        return call

    fsync = os.fsync
    for name in OPERATIONS:
        setattr(os, name, dying(getattr(os, name)))
    sys.argv = ["reference_trainers", *sys.argv[2:]]
    runpy.run_module("reference_trainers", run_name="__main__")


if __name__ == "__main__":
    main()
