"""How the processes of a run meet and add: torch.distributed, by gloo on the host."""

from __future__ import annotations

import atexit
import os
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import distributed

from reference_trainers.errors import InputError
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.world import World

PATIENCE = timedelta(days=7)
# How devices talk; tpu_dist is torch-tpu's
GROUPS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl", "tpu": "cpu:gloo,tpu:tpu_dist"}


def join(world: World, device: str) -> None:
    """Meets the others by the variables that a launcher sets."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise InputError(f"WORLD_SIZE is {world.size}, and {name} is not set.")
    if device == "cuda":
        torch.cuda.set_device(world.local_rank)
    if not distributed.is_initialized():
        distributed.init_process_group(GROUPS[device])
        atexit.register(distributed.destroy_process_group)
    words()


@cache
def words() -> Any:
    """The group for what is said on the host.

    The others wait in it while the first reads rows, or pushes what it has written.
    """
    return distributed.new_group(timeout=PATIENCE, backend="gloo")


def reduced(values: np.ndarray) -> np.ndarray:
    """The sum over all processes."""
    total = torch.from_numpy(np.array(values))
    with lost_processes_told(RuntimeError):
        distributed.all_reduce(total, group=words())
    return total.numpy()
