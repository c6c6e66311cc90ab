"""The machine of a run: versions, hardware, peak memory and signals."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import version
from typing import Any

from reference_trainers.protocols import Backend

# Named where they are loaded: a run in one framework says nothing of the others
LIBRARIES = {
    "accelerate": "accelerate",
    "datasets": "datasets",
    "flax": "flax",
    "jax": "jax",
    "keras": "keras",
    "numpy": "numpy",
    "optax": "optax",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "transformers": "transformers",
}


def versions() -> dict[str, str]:
    """Python, and the libraries that this process has loaded."""
    found = {"python": platform.python_version()}
    for module in LIBRARIES:
        if module in sys.modules:
            loaded = getattr(sys.modules[module], "__version__", None)
            found[module] = str(loaded or version(module))
    return found


def hardware(backend: Backend) -> dict[str, Any]:
    """Device kind and number, cores, and memory in bytes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "device": backend.device_kind,
        "devices": backend.devices,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
    }


def peak_memory(backend: Backend) -> dict[str, int]:
    """Largest resident size of this process, and what the device reports."""
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    device = backend.peak_memory_bytes()
    if device is not None:
        peak["device"] = device
    return peak
