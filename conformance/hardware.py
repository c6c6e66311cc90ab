"""What accelerators this machine has, found without importing a framework."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def gpus() -> int:
    """How many GPUs the driver lists."""
    listing = shutil.which("nvidia-smi")
    if listing is None:
        return 0
    ended = subprocess.run([listing, "-L"], capture_output=True, text=True)
    return sum(line.startswith("GPU ") for line in ended.stdout.splitlines())


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
