"""The figures of a record, a line for each benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = (
    "benchmark",
    "median",
    "samples/s",
    "tokens/s",
    "MFU",
    "peak",
    "of its floor",
)


def table(record: Mapping[str, Any]) -> str:
    """Text of a record in pytest-benchmark's layout."""
    machine = record["machine_info"]
    peak = machine.get("peak_flops", {})
    speeds = [f"{told / 1e9:.0f} GFLOP/s in {name}" for name, told in peak.items()]
    rows = [COLUMNS, *map(line, record["benchmarks"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if place in (0, len(COLUMNS) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(["", ", ".join([machine["kind"], *speeds]), "", *lines])


def line(benchmark: Mapping[str, Any]) -> tuple[str, ...]:
    """One benchmark; a dash where a figure is not told, or says nothing."""
    told = benchmark["extra_info"]
    floors = (
        f"{name} {floor['ratio']:.2f}{interval(floor['interval'])}"
        for name, floor in told["floors"].items()
    )
    return (
        benchmark["name"].removeprefix("test_"),
        seconds(benchmark["stats"]["median"]),
        number(told["samples_per_second"]),
        number(told["tokens_per_second"] or None),
        "-" if told["mfu"] is None else f"{told['mfu']:.1%}",
        memory(told["peak_device_bytes"] or told["peak_host_bytes"]),
        ", ".join(floors) or "-",
    )


def interval(ends: tuple[float | None, float | None]) -> str:
    low, high = ends
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"


def seconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def memory(value: int | None) -> str:
    return "-" if value is None else f"{value / 2**30:.2f} GiB"
