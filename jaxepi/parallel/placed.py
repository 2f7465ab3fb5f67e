"""A model on all devices of this process: what the predictors of all systems share."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.pretrained.table import weights_digest


class PlacedModel:
    """A model whose weights lie on every device of this process; batches are shared out by rows.

    Attributes:
      model: the module, for anything beyond prediction.
      source: where the weights came from.
    """

    def __init__(self, model: nnx.Module, *, source: str, precision: str | None = None, device: Any = None):
        """Args beyond the attributes: `precision` of float32 products and `device`, as in `jaxepi.load`.

        Raises:
          JaxepiError: there is no such device.
        """
        self.model = model
        self.source = source
        model.eval()
        self._graph, weights = nnx.split(model)
        mesh = jax.sharding.Mesh(np.array(_devices(device)), ("data",))
        self._rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        self._weights = jax.device_put(weights, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
        self._precision = precision

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function(model, *batch)`, traceable, as a compiled function of the batch alone.

        The batch is any tree of arrays whose first axis has as many rows as `rows` gives.
        """
        graph, precision = self._graph, self._precision

        @jax.jit
        def run(weights: nnx.State, batch: tuple[Any, ...]) -> Any:
            with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
                return function(nnx.merge(graph, weights), *batch)

        return lambda *batch: run(self._weights, jax.device_put(batch, self._rows))

    def rows(self, batch_size: int) -> int:
        """`batch_size` rounded up to a multiple of the devices."""
        devices = self._rows.mesh.size
        return -(-batch_size // devices) * devices

    def digest(self) -> str:
        """A fingerprint of all weights, the same for the same bits."""
        return weights_digest(self.model)


def _devices(asked: Any) -> list[jax.Device]:
    """The devices of this process of a backend, or the one asked for, or all default ones."""
    if isinstance(asked, jax.Device):
        return [asked]
    try:
        return jax.local_devices(backend=asked)
    except (RuntimeError, TypeError, ValueError) as problem:
        here = sorted({device.platform for device in jax.local_devices()} | {"cpu"})
        raise JaxepiError(
            f"There is no device {asked!r} here: use {' or '.join(map(repr, here))}, or none."
        ) from problem
