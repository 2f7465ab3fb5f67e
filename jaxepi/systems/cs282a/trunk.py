"""Sequence as input: a trunk of another system, asked of the registry by name, makes the embeddings within the step."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.registry import get_system, task_of
from jaxepi.sequence import N
from jaxepi.systems.cs282a.model import Cs282aConfig
from jaxepi.task import Batch, Task


class SequenceInput:
    """Records of sequence (L,) with labels in bins, read by a model of `config.trunk`.

    Attributes:
      channels: C of the trunk's features.
      window: bp that the trunk reads.
      trunks: where in the model it lies -> its system and the sizes that were asked for.
    """

    def __init__(self, config: Cs282aConfig, manifest: Mapping[str, Any]):
        """Raises JaxepiError for an unknown system, sizes that it does not have, or bins that are not the dataset's."""
        sizes = copy.deepcopy(dict(config.trunk_sizes))
        self.trunks = {"trunk": (config.trunk, sizes)}
        self.task = _trunk_task(config.trunk, sizes, manifest)
        if self.task.window is None or not self.task.sequence_alone:
            raise JaxepiError(
                f"config.model.trunk is {config.trunk!r}, which does not read sequence alone: take a system that does."
            )
        self.window: int | None = self.task.window
        bins, self.channels = _shape(self.task)
        if bins != int(manifest["bins"]):
            raise JaxepiError(
                f"The trunk of {config.trunk!r} gives {bins} bins of a window of {self.window} bp, but the dataset has "
                f"{manifest['bins']}: prepare it with the bins of that model, or set config.model.trunk_sizes."
            )
        grid, told = self.task.grid, (int(manifest["bin_width"]), int(manifest["crop"]))
        if grid.at == "bin" and (grid.bin, grid.crop) != told:
            raise JaxepiError(
                f"The trunk of {config.trunk!r} has bins of {grid.bin} bp with {grid.crop} bp left out at both ends, "
                f"but the dataset has {told[0]} and {told[1]}: prepare it with the bins of that model."
            )

    def build(self, rngs: nnx.Rngs) -> nnx.Module:
        """The trunk, with fresh weights."""
        return self.task.build_model(rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """What the trunk accepts of `sequence`, with its names; padding is N."""
        codes = np.full((len(records), self.window), N, np.uint8)
        for row, record in enumerate(records):
            if record is not None:
                codes[row] = record["sequence"]
        return self.accept(codes)

    def accept(self, x: Any) -> Batch:
        """Windows of sequence, as the trunk's system takes them."""
        return {f"trunk_{name}": array for name, array in self.task.accept(x).items()}

    def expand(self, batch: Batch) -> Batch:
        """The inputs of the trunk."""
        own = {name.removeprefix("trunk_"): array for name, array in batch.items() if name.startswith("trunk_")}
        return {"trunk": self.task.expand(own)}

    def viewed(self, inputs: Batch, reverse: jax.Array, shift: jax.Array) -> Batch:
        """See `jaxepi.task.Task.viewed`."""
        return {**inputs, "trunk": self.task.viewed(inputs["trunk"], reverse, shift)}

    def embed(self, model: Any, inputs: Batch) -> jax.Array:
        """Features (B, T, C) of the trunk, with what the adapters change."""
        trunk = model.trunk if model.adapters is None else model.adapters.applied(model.trunk)
        return self.task.features(trunk, inputs["trunk"])


def _trunk_task(name: str, sizes: Mapping[str, Any], manifest: Mapping[str, Any]) -> Task:
    """The task of a trunk: for this dataset, or where its system or heads are made for others, as a released model.

    Raises:
      JaxepiError: an unknown system, sizes that it does not have, or a system for neither.
    """
    system = get_system(name)
    # where its bins lie the trunk says by itself
    own = {key: value for key, value in manifest.items() if key not in ("bins", "bin_width", "crop")}
    try:
        return task_of(system, sizes, {}, own)
    except JaxepiError:
        if system.weights is None:
            raise
    fields = {field.name for field in dataclasses.fields(system.sizes)}
    window = {"window": int(manifest["window"])} if "window" in fields else {}
    whole = from_section(system.sizes, sizes, "config.model.trunk_sizes", **window)
    released, objective = system.weights.released(whole, None, {})
    return task_of(system, sizes, objective, {**released, "window": manifest["window"]})


def strand_pairs(manifest: Mapping[str, Any], columns: Sequence[int] | slice) -> tuple[int, ...] | None:
    """Of each chosen track the number of the one on the other strand; None if each is its own.

    Raises:
      JaxepiError: one track of a pair is chosen without the other.
    """
    names, told = list(manifest["tracks"]), list(manifest.get("strand_pair") or ())
    kept = list(range(len(names)))[columns] if isinstance(columns, slice) else list(columns)
    if not told or all(told[column] == column for column in kept):
        return None
    for column in kept:
        if told[column] not in kept:
            raise JaxepiError(
                f"config.dataset.tracks has {names[column]!r} without {names[told[column]]!r}, its track of the other "
                "strand: choose both."
            )
    return tuple(kept.index(told[column]) for column in kept)


def _shape(task: Task) -> tuple[int, int]:
    """Bins and channels of a task's features, from shapes alone."""
    codes = np.full((1, task.window), N, np.uint8)

    def features() -> jax.Array:
        model = task.build_model(nnx.Rngs(0))
        model.eval()
        return task.features(model, task.expand(jax.tree.map(jnp.asarray, task.accept(codes))))

    shape = jax.eval_shape(features).shape
    return int(shape[1]), int(shape[2])
