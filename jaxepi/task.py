"""The contract between the loop and a system. The loop, the evaluator and the input pipeline know only this."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

Batch = dict[str, Any]


SAMPLE_POSITIONS = 300_000  # for Spearman, as the Melody paper samples


@dataclasses.dataclass(frozen=True)
class Options:
    """What an evaluation keeps besides the sums.

    Attributes:
        region: what the predictions' mask selects, the middle of the names of sampled metrics.
        regions: of each track (K,), where they differ; (): all tracks are of `region`.
        label_threshold: a target above it is positive in the sampled AUC; None: targets have no classes.
        kendall: numbers of the tracks for which Kendall's tau-b is given.
        sample_positions: upper bound; with many tracks `SAMPLE_VALUES` bounds it further.
        windows: how many whole windows to keep for the browser view.
        seed: of the choice of positions and windows.
        unit: of predicted and measured values, for axes.
    """

    region: str = "cpg"
    regions: tuple[str, ...] = ()
    label_threshold: float | None = 0.5
    kendall: tuple[int, ...] = ()
    sample_positions: int = SAMPLE_POSITIONS
    windows: int = 4
    seed: int = 0
    unit: str = ""


class Task(abc.ABC):
    """Joins records, model and objective of one system.

    Attributes:
      model_config: frozen dataclass with the sizes of the model.
      manifest: the dataset's manifest (or what a checkpoint kept of it: `window`, `tracks`, ...).
      tracks: names of the K outputs that are evaluated.
      options: what an evaluation keeps besides the sums, and the region that names its metrics.
    """

    model_config: Any
    manifest: Mapping[str, Any]
    tracks: list[str]
    options: Options = Options()
    # the validation metric that keep-best and early stopping watch unless the config names another
    monitor: str

    @abc.abstractmethod
    def build_model(self, rngs: nnx.Rngs) -> nnx.Module:
        """A fresh model; its parameters are a function of `rngs` alone."""

    @abc.abstractmethod
    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Parsed records of a batch to arrays of fixed shape, on the host.

        A `None` is a padding row: its entry of `row_mask` (B,) float32 is 0 and it counts nowhere.
        """

    @abc.abstractmethod
    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        """Collated batch to (inputs, targets), on the device inside the jitted step; augments only if `train`."""

    @abc.abstractmethod
    def apply(self, model: nnx.Module, inputs: Batch) -> Any:
        """Runs the model on what `prepare` made."""

    @abc.abstractmethod
    def loss(self, outputs: Any, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The scalar to minimise and its named terms, all float32."""

    @abc.abstractmethod
    def metrics(self, outputs: Any, targets: Batch) -> dict[str, Any]:
        """Mergeable masked sums of one batch (see jaxepi.metrics.standard), on the device."""

    @abc.abstractmethod
    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Merged sums to flat names with their reduction, and `per_track` as a mapping, on the host."""

    @abc.abstractmethod
    def predictions(self, outputs: Any, targets: Batch) -> dict[str, jax.Array]:
        """What the report samples: `prediction`, `target`, `mask` (B, S, K) and `offset` (B, S) in the window."""
