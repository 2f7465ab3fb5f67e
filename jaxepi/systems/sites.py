"""What a task adds whose records are single sites, so that imputation, motifs and base changes serve every one."""

import abc
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxepi.task import Task


class SiteTask(Task):
    """A task with one number a record and track.

    If its model reads DNA, `collate` gives base codes as `sequence` (B, L), and `prepare` makes `dna` (B, L, 4) of it.
    """

    @abc.abstractmethod
    def site_values(self, outputs: Any) -> jax.Array:
        """Every track at every site (B, K), from what `apply` returns."""

    @abc.abstractmethod
    def first_convolution(self, model: nnx.Module) -> tuple[np.ndarray, np.ndarray] | None:
        """Kernel (width, 4, F) and bias (F,) of the filters that read the one-hot DNA; None without such filters."""
