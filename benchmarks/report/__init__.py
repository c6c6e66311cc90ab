"""`python -m benchmarks report`: records of several machines, to be looked at."""

from benchmarks.report.command import main

__all__ = ["main"]
