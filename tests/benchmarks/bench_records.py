"""Records of benchmarks with figures that are easy to count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MACHINE = {
    "kind": "Linux x86_64",
    "cores": 2,
    "threads": 2,
    "memory_bytes": 24 * 2**30,
    "peak_flops": {"float32": 1e11},
    "versions": {"numpy": "2.4.6", "torch": "2.11.0"},
}


def benchmark(
    trainer: str = "pytorch",
    what: str = "step",
    seconds: tuple[float, ...] = (0.5, 0.5, 0.5),
    samples: int | None = 4,
    floors: dict[str, Any] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """4 samples of 100 tokens and 1e9 operations in half a second, if nothing else is
    said."""
    middle = sorted(seconds)[len(seconds) // 2]
    tokens = None if samples is None else 100 * samples
    info = {
        "trainer": trainer,
        "profile": "cpu",
        "what": what,
        "shape": "tiny",
        "lengths": "full",
        "precision": "fp32",
        "devices": 1,
        "batch": 4,
        "spec_hash": "aaaa1111",
        "samples": samples,
        "tokens": tokens,
        "flops": 1e9,
        "samples_per_second": None if samples is None else samples / middle,
        "tokens_per_second": None if tokens is None else tokens / middle,
        "flops_per_second": 1e9 / middle,
        "mfu": 1e9 / middle / 1e11,
        "peak_host_bytes": 3 * 2**20,
        "peak_device_bytes": None,
        "joules": None,
        "floors": floors or {},
    }
    info |= extra
    number = f"{trainer}-{info['shape']}-{info['lengths']}-{info['devices']}"
    return {
        "fullname": f"benchmarks/suite/test_training.py::test_{what}[{number}]",
        "stats": {"data": list(seconds), "median": middle},
        "extra_info": info,
    }


def floor(ratio: float, half: float = 0.01, pairs: int = 5) -> dict[str, Any]:
    interval = [ratio * (1 - half), ratio * (1 + half)]
    return {"seconds": [0.5] * pairs, "ratio": ratio, "interval": interval}


def write_bench_record(
    path: Path,
    *benchmarks: dict[str, Any],
    day: int = 1,
    commit: str | None = "c0ffee",
    **machine: Any,
) -> Path:
    path.write_text(
        json.dumps(
            {
                "machine_info": MACHINE | machine,
                "commit_info": {"id": commit},
                "benchmarks": list(benchmarks) or [benchmark()],
                "datetime": f"2026-11-{day:02}T12:00:00+00:00",
                "version": "5.3.1",
            }
        )
    )
    return path
