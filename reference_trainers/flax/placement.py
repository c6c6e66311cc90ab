"""Where arrays lie: on which devices of which process, whole or in parts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

ROWS = "rows"  # the one axis of a mesh: each device has its rows of a batch


class Placement:
    """The devices of a run, in all of its processes."""

    def __init__(self, sharded: bool, devices: list[jax.Device] | None = None):
        """`sharded`: each device holds a part of every parameter and moment.

        `devices`: all that JAX sees, in all processes.
        """
        self.sharded = sharded
        self.mesh = mesh_of(devices or jax.devices())
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())
        own = mesh_of(self.mesh.local_devices)
        self.own_everywhere = NamedSharding(own, PartitionSpec())
        self.own_rows = NamedSharding(own, PartitionSpec(ROWS))
        self.gather = jax.jit(lambda values: values, out_shardings=self.everywhere)

    @property
    def devices(self) -> int:
        return self.mesh.size

    def of(self, value: Any) -> NamedSharding:
        """Where a parameter or a moment of this shape lies.

        It is cut along its first axis that the devices divide; a short one is not.
        """
        for axis, length in enumerate(value.shape if self.sharded else ()):
            if length % self.devices == 0:
                return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, ROWS))
        return self.everywhere

    def placed(self, tree: Any) -> Any:
        """Arrays of the host, the same in every process, each device with its part."""

        def place(value: Any) -> jax.Array:
            content = np.asarray(value)
            return jax.make_array_from_callback(
                content.shape, self.of(content), lambda part: content[part]
            )

        return jax.tree.map(place, tree)

    def constrained(self, values: Any, whole: bool) -> Any:
        """In a program: parameters or gradients as they lie, or `whole` everywhere."""
        if not self.sharded:
            return values

        def constrain(value: jax.Array) -> jax.Array:
            lies = self.everywhere if whole else self.of(value)
            return jax.lax.with_sharding_constraint(value, lies)

        return jax.tree.map(constrain, values)

    def micro_batches(self, arrays: Any) -> Any:
        """This process's rows, (micro-batches, rows, length), among those of all."""
        if self.devices == 1:  # the program takes them itself, which is faster
            return arrays
        rows = NamedSharding(self.mesh, PartitionSpec(None, ROWS))
        return jax.tree.map(
            lambda array: jax.make_array_from_process_local_data(rows, array), arrays
        )

    def batch(self, arrays: Any) -> Any:
        """Rows (rows, length) of this process, on its own devices alone."""
        return jax.device_put(arrays, self.own_rows)

    def whole(self, values: Any) -> Any:
        """All of each array on each of this process's devices."""
        if self.sharded:
            values = self.gather(values)
        if jax.process_count() == 1:
            return values

        def view(value: jax.Array) -> jax.Array:  # copies nothing
            parts = [shard.data for shard in value.addressable_shards]
            return jax.make_array_from_single_device_arrays(
                value.shape, self.own_everywhere, parts
            )

        return jax.tree.map(view, values)


def mesh_of(devices: Any) -> Mesh:
    return Mesh(np.array(devices), (ROWS,), axis_types=(AxisType.Auto,))


def on_host(value: jax.Array) -> np.ndarray:
    """A copy of a whole array; of one that is cut up, all processes ask for it."""
    if value.is_fully_addressable or value.is_fully_replicated:
        return np.array(value)
    return np.array(multihost_utils.process_allgather(value, tiled=True))
