"""The loss over a whole split, as sums that merge."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.metrics.base import Array, Metric, divide, first_reason
from jaxepi.systems.deepcpg.losses import reduce_losses


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums(Metric):
    """Loss of every track, and the penalty of the weights."""

    loss: Array  # (K,) weighted losses added up
    count: Array  # (K,) what they are divided by: observed labels or rows
    penalty: Array  # (K,) the penalty, once a batch
    batches: Array  # (K,)

    @classmethod
    def from_sums(cls, loss: Array, count: Array, penalty: Array) -> Self:
        """Loss and count (K,) of a batch and the penalty, a scalar."""
        return cls(loss, count, jnp.broadcast_to(penalty, loss.shape), jnp.ones(loss.shape, jnp.int32))

    def finalize(self) -> dict[str, np.ndarray]:
        """`loss` (K,) without penalty and without the weight of the output."""
        host = self.to_host()
        return {"loss": divide(host.loss, host.count)}

    def reasons(self) -> dict[str, list[str]]:
        """Why a value is NaN."""
        return {"loss": first_reason([(self.to_host().count == 0, "no observed label")])}

    def total(self, columns: Sequence[int], weights: np.ndarray, masking: str) -> float:
        """What training minimises, over all batches: weighted losses of the outputs at `columns`, and the penalty."""
        host = self.to_host()
        losses = reduce_losses(host.loss[list(columns)], host.count[list(columns)], masking)
        return float(losses @ weights + host.penalty[0] / max(int(host.batches[0]), 1))
