"""The contract between the loop and a system. The loop, the evaluator and the input pipeline know only this."""

import abc
import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.evaluate.evaluator import Options

Batch = dict[str, Any]

# system -> where its task lives, imported when first asked for
_TASKS = {
    "chromoformer": ("jaxepi.tasks.chromoformer", "ChromoformerTask"),
    "deepcpg": ("jaxepi.tasks.deepcpg", "DeepCpGTask"),
    "melody": ("jaxepi.tasks.melody", "MelodyTask"),
}


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
    # the validation metric that keep-best and early stopping watch unless the config names another, and its sense
    monitor: str
    monitor_mode: str = "max"

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
        """Mergeable masked sums of one batch (see jaxepi.evaluate.metrics), on the device."""

    @abc.abstractmethod
    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Merged sums to flat names with their reduction, and `per_track` as a mapping, on the host."""

    @abc.abstractmethod
    def predictions(self, outputs: Any, targets: Batch) -> dict[str, jax.Array]:
        """What the report samples: `prediction`, `target`, `mask` (B, S, K) and `offset` (B, S) in the window."""


def make_task(config: Any, manifest: Mapping[str, Any]) -> Task:
    """The task of `config.system` for a dataset.

    Raises:
      JaxepiError: unknown system, unknown field, or a dataset that does not fit.
    """
    system = config.system
    if system not in _TASKS:
        raise JaxepiError(f"Unknown system {system!r}{did_you_mean(system, _TASKS)}; known are {sorted(_TASKS)}.")
    if manifest.get("system", system) != system:
        raise JaxepiError(f"The config is for {system!r}, but the dataset was prepared for {manifest['system']!r}.")
    module, name = _TASKS[system]
    return getattr(importlib.import_module(module), name)(config, manifest)


D = TypeVar("D")


def from_section(cls: type[D], section: Mapping[str, Any], where: str, **override: Any) -> D:
    """A frozen dataclass from a section of the config; `override` fills what the dataset decides.

    Raises:
      JaxepiError: a field that `cls` does not have, with the nearest name.
    """
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in section:
        if name not in known:
            raise JaxepiError(f"Unknown config field {where}.{name}{did_you_mean(name, known)}.")
    return cls(**{**dict(section), **override})
