"""Which of the processes of a run this one is, told before anything else is done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from reference_trainers.errors import InputError


@dataclass(frozen=True)
class World:
    """One process among those that a launcher started together."""

    rank: int = 0
    """From 0; the first owns the folder, the log and the progress bar."""
    size: int = 1
    """Processes in all, on every host."""
    local_rank: int = 0
    """From 0 on each host: which of its devices is this process's own."""

    @property
    def first(self) -> bool:
        return self.rank == 0


def world_of(environment: Mapping[str, str] | None = None) -> World:
    """What the launcher's own variables say; without any, one process alone.

    torchrun and `accelerate launch` set RANK, WORLD_SIZE and LOCAL_RANK; TensorFlow
    reads TF_CONFIG; `jax.distributed` JAX_PROCESS_ID and JAX_NUM_PROCESSES.
    Raises `InputError` where a variable cannot be read.
    """
    environment = os.environ if environment is None else environment
    try:
        if "WORLD_SIZE" in environment:
            rank = int(environment.get("RANK", "0"))
            local = int(environment.get("LOCAL_RANK", rank))
            return World(rank, int(environment["WORLD_SIZE"]), local)
        if "TF_CONFIG" in environment:
            return _of_tf_config(json.loads(environment["TF_CONFIG"]))
        if "JAX_NUM_PROCESSES" in environment:
            rank = int(environment.get("JAX_PROCESS_ID", "0"))
            return World(rank, int(environment["JAX_NUM_PROCESSES"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        names = "WORLD_SIZE, RANK, LOCAL_RANK, TF_CONFIG, JAX_NUM_PROCESSES"
        raise InputError(
            f"The launcher's variables cannot be read ({error!r}); look at {names}."
        ) from error
    return World()


def _of_tf_config(config: Mapping) -> World:
    """The workers of a TF_CONFIG, its chief first."""
    cluster = config.get("cluster", {})
    chiefs, workers = len(cluster.get("chief", ())), len(cluster.get("worker", ()))
    task = config.get("task", {})
    index = int(task.get("index", 0))
    rank = index if task.get("type") == "chief" else chiefs + index
    return World(rank, max(1, chiefs + workers))
