"""Where arrays live: a mesh with the axes `data` and `fsdp`, batches split over both, parameters over `fsdp`.

One device, eight fake CPU devices and several hosts run the same code; only the mesh differs.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxepi.errors import JaxepiError

AXES = ("data", "fsdp")
# arrays smaller than this stay whole on every device: splitting them costs more than it saves
SMALLEST_SPLIT = 2**14


def make_mesh(fsdp: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
    """A (data, fsdp) mesh over all devices of all processes; `fsdp` devices share one copy of the parameters.

    Raises:
      JaxepiError: `fsdp` does not divide the number of devices.
    """
    devices = devices if devices is not None else jax.devices()
    if fsdp < 1 or len(devices) % fsdp:
        raise JaxepiError(f"config.mesh.fsdp is {fsdp}, but must divide the number of devices, {len(devices)}.")
    return Mesh(np.asarray(devices).reshape(-1, fsdp), AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis of every batch array is split over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def on_rows(mesh: Mesh, tree: Any, rows: int) -> Any:
    """Inside a jitted function: keeps each array with `rows` rows split as batches are, whatever follows from it."""
    split = batch_sharding(mesh)
    return jax.tree.map(
        lambda x: jax.lax.with_sharding_constraint(x, split) if x.ndim and x.shape[0] == rows else x, tree
    )


def gathered(mesh: Mesh, tree: Any) -> Any:
    """Inside a jitted function: parts of a state, whole on every device, for use with rows that stay on theirs.

    Left to itself, the compiler may move activations to the shards of the parameters instead.
    """
    return jax.lax.with_sharding_constraint(tree, replicated(mesh))


def placed(tree: Any, shardings: Any) -> Any:
    """Arrays that every host has in full, laid out over the mesh as `shardings` say."""

    def of(leaf: Any, sharding: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(leaf.shape, sharding, np.asarray(leaf).__getitem__)

    return jax.tree.map(of, tree, shardings)


def state_shardings(mesh: Mesh, abstract_state: Any) -> Any:
    """For each array of a state: its longest axis that `fsdp` divides is split, small arrays are replicated."""
    size = mesh.shape["fsdp"]

    def of(leaf: Any) -> NamedSharding:
        shape = leaf.shape
        fitting = [axis for axis in range(len(shape)) if shape[axis] % size == 0]
        if size == 1 or not fitting or np.prod(shape) < SMALLEST_SPLIT:
            return replicated(mesh)
        split = max(fitting, key=lambda axis: shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * split, "fsdp"))

    return jax.tree.map(of, abstract_state)
