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
    for names, read in _LAUNCHERS:
        if names[0] not in environment:
            continue
        try:
            world = read(environment)
        except KeyError as error:
            raise InputError(
                f"{names[0]} is set, and {error.args[0]} is not."
            ) from None
        except (ValueError, TypeError, AttributeError) as error:
            told = ", ".join(names)
            raise InputError(
                f"The launcher's variables cannot be read ({error!r}); look at {told}."
            ) from error
        if not 0 <= world.rank < world.size:
            raise InputError(
                f"{names[0]} tells of {world.size} processes, and this is number "
                f"{world.rank}; the first is number 0. Look at {names[1]}."
            )
        return world
    return World()


def _of_torch(environment: Mapping[str, str]) -> World:
    size = int(environment["WORLD_SIZE"])
    rank = int(environment["RANK"] if size > 1 else environment.get("RANK", "0"))
    return World(rank, size, int(environment.get("LOCAL_RANK", rank)))


def _of_jax(environment: Mapping[str, str]) -> World:
    size = int(environment["JAX_NUM_PROCESSES"])
    alone = environment.get("JAX_PROCESS_ID", "0")
    return World(int(environment["JAX_PROCESS_ID"] if size > 1 else alone), size)


def _of_tensorflow(environment: Mapping[str, str]) -> World:
    """The workers of a TF_CONFIG, its chief first."""
    config = json.loads(environment["TF_CONFIG"])
    cluster, task = config.get("cluster", {}), config.get("task", {})
    chiefs, workers = len(cluster.get("chief", ())), len(cluster.get("worker", ()))
    size = max(1, chiefs + workers)
    if size > 1 and not {"type", "index"} <= task.keys():
        raise KeyError("its task, with a type and an index,")
    index = int(task.get("index", 0))
    return World(index if task.get("type") == "chief" else chiefs + index, size)


_LAUNCHERS = (
    (("WORLD_SIZE", "RANK", "LOCAL_RANK"), _of_torch),
    (("TF_CONFIG", "the index of its task"), _of_tensorflow),
    (("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"), _of_jax),
)
"""What each sets, the number of processes first and this one's own second."""
