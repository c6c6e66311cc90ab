"""How the processes of a run meet and add: `jax.distributed`, over gloo on a CPU."""

from __future__ import annotations

import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from reference_trainers.errors import InputError
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.report.stderr import noise_kept_off
from reference_trainers.world import World

ADDRESS = "JAX_COORDINATOR_ADDRESS"
LOST_AFTER = 30  # seconds: a process that says nothing for so long is given up


def join(world: World) -> None:
    """Meets the others at the address of the first."""
    if ADDRESS not in os.environ:
        raise InputError(
            f"{ADDRESS} is not set: each of the {world.size} processes needs it, "
            "host:port of the first, beside JAX_NUM_PROCESSES and JAX_PROCESS_ID."
        )
    if jax.distributed.is_initialized():
        return
    with noise_kept_off(2), noise_kept_off(1):  # gloo tells stdout that it is connected
        jax.distributed.initialize(
            os.environ[ADDRESS],
            world.size,
            world.rank,
            heartbeat_timeout_seconds=LOST_AFTER,
            shutdown_timeout_seconds=LOST_AFTER,
        )
        reduced(np.zeros(1, np.int32))


def reduced(values: np.ndarray) -> np.ndarray:
    """The sum over all processes, in the order of their ranks.

    It travels as 32-bit words: JAX has no others unless it is told for all it does.
    Their number is a power of two, since each is a program to compile.
    """
    words = np.ascontiguousarray(values).reshape(-1).view(np.int32)
    padded = np.zeros(1 << max(0, len(words) - 1).bit_length(), np.int32)
    padded[: len(words)] = words
    with lost_processes_told(ValueError, jax.errors.JaxRuntimeError):
        gathered = np.array(multihost_utils.process_allgather(padded))
    own = np.ascontiguousarray(gathered[:, : len(words)]).view(values.dtype)
    return own.sum(axis=0, dtype=values.dtype).reshape(values.shape)
