"""What a figure was measured on: processor, memory, versions, peak and energy."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.figures import matmul_flops
from conformance.hardware import gpu_names, processor

LIBRARIES = (
    *("accelerate", "datasets", "flax", "jax", "jaxlib", "keras", "numpy", "optax"),
    *("tensorflow", "tensorflow-cpu", "tokenizers", "torch", "transformers"),
)
# Read by the frameworks and by the libraries that they multiply with
THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
)
SIZES = (1024, 2048)  # of matrices: from here on a product is as fast as it gets
GPU_SIZES = (4096, 8192)
PRODUCTS = 5
POWERCAP = Path("/sys/class/powercap")


# ---- who it is -----------------------------------------------------------------------


def machine(on_gpu: bool) -> dict[str, Any]:
    """The facts of this machine; `kind` is what makes figures of two comparable."""
    cores = len(os.sched_getaffinity(0))
    cpu = f"{processor() or platform.machine()}, {cores} core{'s' * (cores > 1)}"
    gpus = gpu_names() if on_gpu else ()
    return {
        "kind": gpus[0] if gpus else cpu,
        "cores": cores,
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Python, and the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


# ---- how fast it may be --------------------------------------------------------------


def matmul_peak(
    products: Iterable[Callable[[int], Callable[[], object]]],
    on_gpu: bool,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """FLOP/s of the fastest square product that any framework here makes; None: none.

    Of each size the best of a few, after one that is not timed.
    """
    best = None
    for product in products:
        for size in GPU_SIZES if on_gpu else SIZES:
            multiply = product(size)
            multiply()
            for _ in range(PRODUCTS):
                began = clock()
                multiply()
                speed = matmul_flops(size) / (clock() - began)
                best = max(speed, best or 0.0)
    return best


# ---- what it used --------------------------------------------------------------------


class PeakMemory:
    """The most that this process held of the machine's memory since `restart`."""

    def __init__(self, process: Path = Path("/proc/self")):
        self.process = process
        self.restarts = False

    def restart(self) -> None:
        """Counts from what is held now, where the kernel lets a process do that.

        What was freed before goes back to the system first: glibc keeps gigabytes of
        it, which would count as held by whoever is measured next.
        """
        gc.collect()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        try:
            (self.process / "clear_refs").write_text("5", encoding="utf-8")
            self.restarts = True
        except OSError:
            self.restarts = False

    def bytes(self) -> int | None:
        """None: the kernel does not tell."""
        if not self.restarts:
            return None
        status = (self.process / "status").read_text(encoding="utf-8")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None


def energy_meter(on_gpu: bool) -> Callable[[], float | None]:
    """What reads the joules used so far, by some zero; it answers None: not told.

    A GPU's are its own (NVML), a processor's those of its packages (RAPL).
    """
    return nvml_meter() if on_gpu else RaplMeter()


class RaplMeter:
    """The energy of all processor packages, as the kernel counts it."""

    def __init__(self, top: Path = POWERCAP):
        self.packages = [
            zone
            for zone in sorted(top.glob("*-rapl:*"))
            if _text(zone / "name").startswith("package")
        ]
        self.last: Mapping[Path, int] = {}
        self.joules = 0.0

    def __call__(self) -> float | None:
        """The counters begin anew at their largest value, as often as every minute."""
        read = {zone: _text(zone / "energy_uj") for zone in self.packages}
        if not read or not all(value.isdigit() for value in read.values()):
            return None
        now = {zone: int(value) for zone, value in read.items()}
        for zone, last in self.last.items():
            used = now[zone] - last
            if used < 0:
                used += int(_text(zone / "max_energy_range_uj") or 0)
            self.joules += used / 1e6
        self.last = now
        return self.joules


def nvml_meter() -> Callable[[], float | None]:
    """The energy of the first GPU since its driver was loaded (Volta or newer)."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return lambda: None
    device = ctypes.c_void_p()
    begun = nvml.nvmlInit_v2()
    begun = begun or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device))

    def read() -> float | None:
        millijoules = ctypes.c_ulonglong()
        pointer = ctypes.byref(millijoules)
        if begun or nvml.nvmlDeviceGetTotalEnergyConsumption(device, pointer):
            return None
        return millijoules.value / 1e3

    return read


def _text(path: Path) -> str:
    """What a file of the kernel says; nothing where it may not be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
