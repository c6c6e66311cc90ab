"""Hardware profiles, as data: devices, precision, and what they ask of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from conformance import prepare
from conformance.hardware import gpus, needs_a_tpu, needs_gpus
from conformance.subject import Subject


@dataclass(frozen=True)
class Profile:
    """One kind of hardware and precision."""

    name: str
    precision: str
    """Which of the tolerances hold: float32, float64, or half (bfloat16, float16)."""
    flags: Mapping[str, Any]
    """The flags of a run that choose it; a law gives none of these."""
    devices: int = 1
    """Data-parallel devices, in all processes together."""
    processes: int = 1
    """Each run is a command of its own, which `launcher` starts so often."""
    others: str | None = None
    """The profile on which other trainers run for comparison; None: this one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the process."""
    prepare: tuple[Callable[[], None], ...] = ()
    """What is done first in the process."""
    own_process: bool = True
    """False: it asks nothing of the process, so runs are made in pytest's own."""
    launcher: tuple[str, ...] = ()
    """What starts processes where Python is not started plainly; `-m ...` follows."""
    missing: Callable[[], str | None] = lambda: None
    """Why its hardware is not here; None: it is."""

    @property
    def alone(self) -> Profile:
        """As one of its processes has it."""
        return replace(self, launcher=())

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its processes are told by `conformance.processes` who they are."""
        return self.launcher[:3] == LOOPBACK

    def absent(self, subject: Subject) -> str | None:
        """Why it cannot be run here with this trainer; None: it may.

        How many devices a trainer computes on shows in its first report alone.
        """
        if subject.command and (self.prepare or self.launcher):
            return f"a command is started as it is, and {self.name} prepares its own"
        return self.missing()


LOOPBACK = (sys.executable, "-m", "conformance.processes")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


def missing_module(name: str) -> str | None:
    """Why a launcher cannot be started; None: it can."""
    return None if find_spec(name) else f"{name} is not installed"


def simulated(devices: int, on_one: str = "cpu") -> Profile:
    """So many CPUs in one process, made before the first computation there."""
    one = ON_A_CPU[on_one]
    return replace(
        one,
        name=f"{on_one}-x{devices}",
        devices=devices,
        others=on_one,
        own_process=True,
        environment={"JAX_NUM_CPU_DEVICES": str(devices)},
        prepare=(*one.prepare, partial(prepare.tensorflow_devices, devices)),
    )


def accelerated(name: str, precision: str, **flags: Any) -> Profile:
    """One GPU, however many there are; of its memory is taken what is used."""
    return Profile(
        name,
        precision,
        flags,
        others="cpu",
        environment={**SHARED_GPU, "CUDA_VISIBLE_DEVICES": "0"},
        missing=partial(needs_gpus, 1),
    )


def several(processes: int, on_one: str = "cpu") -> Profile:
    """So many processes that talk over loopback, as on several GPUs or hosts."""
    return replace(
        ON_A_CPU[on_one],
        name=f"{on_one}-p{processes}",
        devices=processes,
        processes=processes,
        others=on_one,
        own_process=True,
        launcher=(*LOOPBACK, str(processes)),
    )


SHARED_GPU = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
SEVERAL = max(2, gpus())
PRECISION_FLAGS = ("dtype", "bf16", "fp16", "use_cpu")  # a profile's, never a law's

ON_A_CPU = {
    profile.name: profile
    for profile in (
        Profile("cpu", "float32", {"use_cpu": True}, own_process=False),
        # JAX is told of float64 once for the whole process
        Profile(
            "cpu-float64",
            "float64",
            {"use_cpu": True, "dtype": "float64"},
            prepare=(prepare.float64_t5,),
        ),
        # Accelerate is told of mixed precision once for the whole process
        Profile("cpu-bf16", "half", {"use_cpu": True, "bf16": True}),
        Profile("cpu-fp16", "half", {"use_cpu": True, "fp16": True}),
    )
}
PROFILES = {
    profile.name: profile
    for profile in (
        *ON_A_CPU.values(),
        simulated(2),
        simulated(4),
        simulated(8),
        several(2),
        several(4),
        simulated(2, "cpu-float64"),
        several(2, "cpu-float64"),
        accelerated("gpu", "float32"),
        accelerated("gpu-bf16", "half", bf16=True),
        accelerated("gpu-fp16", "half", fp16=True),
        # Several GPUs: TensorFlow and Flax in one process, PyTorch in one for each
        Profile(
            f"gpu-x{SEVERAL}",
            "float32",
            {},
            devices=SEVERAL,
            others="cpu",
            environment=SHARED_GPU,
            missing=partial(needs_gpus, SEVERAL),
        ),
        Profile(
            f"gpu-p{SEVERAL}",
            "float32",
            {},
            devices=SEVERAL,
            processes=SEVERAL,
            others="cpu",
            launcher=(*TORCHRUN, "--nproc_per_node", str(SEVERAL)),
            missing=lambda: missing_module("torch") or needs_gpus(SEVERAL),
        ),
        Profile("tpu", "float32", {}, others="cpu", missing=needs_a_tpu),
    )
}

# Sets of profiles that a law may name; the first is the one it is run on by default.
ALL = ("cpu", "cpu-float64", "cpu-bf16", "cpu-fp16", "cpu-x2")
EXACT = ALL  # where the same run twice is the same bits
FLOAT64 = ("cpu-float64",)  # the recorded traces are of float64
FLOAT = ("cpu", "cpu-float64", "cpu-x2")  # where a small change of a loss shows
# Between a trainer there and the oracle on a CPU
HARDWARE = (*ALL, "gpu", "gpu-bf16", "gpu-fp16", "tpu")
HALF = ("cpu-bf16", "cpu-fp16", "gpu-bf16", "gpu-fp16")
FP16 = ("cpu-fp16", "gpu-fp16")  # the only ones with a loss scale
# With several devices; PyTorch has none such
ONE_PROCESS = ("cpu-x2", "cpu-x4", "cpu-x8", "cpu-float64-x2", f"gpu-x{SEVERAL}")
DEVICES = (*ONE_PROCESS, "cpu-p2", "cpu-p4", "cpu-float64-p2", f"gpu-p{SEVERAL}")
FOUR = ("cpu-x4", "cpu-p4")  # fewer have sums of two alone, which have no order
TWO = ("cpu-p2", "cpu-x2")  # and four are there, under the same name with a 4
PROCESSES = ("cpu-p2",)  # where one can be killed and the others stay
CPU = ("cpu",)  # laws of commands and clocks, which no precision changes
