"""How the processes of a run meet and add: MultiWorkerMirroredStrategy."""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import tensorflow as tf

from reference_trainers.errors import InputError
from reference_trainers.processes.lost import lost_processes_told
from reference_trainers.world import World

CONFIG = "TF_CONFIG"


def join(world: World) -> None:
    """Meets the others at the addresses that they are told of."""
    if CONFIG not in os.environ:
        raise InputError(
            f"{CONFIG} is not set: each of the {world.size} processes needs it, with "
            "the addresses of all and which of them it is."
        )
    all_processes()


@cache
def all_processes() -> tf.distribute.Strategy:
    """Made once a process, before its first computation."""
    return tf.distribute.MultiWorkerMirroredStrategy()


def reduced(values: np.ndarray) -> np.ndarray:
    """The sum over all processes."""
    with lost_processes_told(tf.errors.OpError):
        total = adding(values.dtype)(values.reshape(-1))
    return total.numpy().reshape(values.shape)


@cache
def adding(dtype: np.dtype):
    """A program that sums vectors of any length."""
    strategy = all_processes()

    def add(values):
        context = tf.distribute.get_replica_context()
        first = tf.equal(replica_of_process(context), 0)
        own = tf.where(first, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    def program(values):
        answer = strategy.run(add, (values,))
        return strategy.experimental_local_results(answer)[0]

    signature = [tf.TensorSpec([None], dtype)]
    return tf.function(program, input_signature=signature, autograph=False)


def replicas_of_process(context) -> int:
    """How many devices this process has."""
    if context.num_replicas_in_sync == 1:  # a default strategy cannot tell
        return 1
    return len(context.strategy.extended.worker_devices)


def replica_of_process(context):
    """Which of them computes this, from 0."""
    return context.replica_id_in_sync_group % replicas_of_process(context)
