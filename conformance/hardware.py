"""What this machine is and has, found without importing a framework."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# By their names on PyPI
LIBRARIES = (
    "torch",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "flax",
    "optax",
    "keras",
    "transformers",
    "accelerate",
    "datasets",
    "numpy",
)


@cache
def machine() -> str:
    """One line: system, processor, cores, memory in GiB, GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    parts = [
        f"{platform.system()} {platform.machine()}",
        processor(),
        f"{len(os.sched_getaffinity(0))} cores",
        f"{memory / 2**30:.0f} GiB",
        *gpu_names(),
    ]
    return ", ".join(part for part in parts if part)


def processor(told: Path = Path("/proc/cpuinfo")) -> str:
    """Its own name for itself, or that of its architecture."""
    try:
        lines = told.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()


@cache
def installed() -> str:
    """One line: Python, and those of the libraries that are here."""
    found = [f"python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


@cache
def gpu_names() -> tuple[str, ...]:
    """What the driver calls each GPU."""
    listing = shutil.which("nvidia-smi")
    if listing is None:
        return ()
    ended = subprocess.run([listing, "-L"], capture_output=True, text=True)
    # GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-...)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("GPU ")]
    return tuple(line.partition(": ")[2].partition(" (UUID")[0] for line in lines)


def gpus() -> int:
    """How many GPUs the driver lists."""
    return len(gpu_names())


def needs_gpus(count: int) -> str | None:
    """Why a profile of so many GPUs is not here; None: it is."""
    if gpus() >= count:
        return None
    return f"needs {count} GPU{'s' * (count > 1)}, and nvidia-smi lists {gpus()}"


def needs_a_tpu(devices: Path = Path("/dev")) -> str | None:
    """Why a profile of a TPU is not here; None: it is."""
    if [*devices.glob("accel[0-9]*"), *devices.glob("vfio/[0-9]*")]:
        return None
    return f"needs a TPU, and there is no {devices}/accel0 or {devices}/vfio/0"
