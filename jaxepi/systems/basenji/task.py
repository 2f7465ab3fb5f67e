"""Basenji as a task: a window of sequence with the coverage of its bins in many tracks.

A record holds base codes and float16 targets of each bin (see docs/data_format.md). One-hot arrays, the reverse
complement and shifts are made on the device. An N is a row of zeros.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.metrics.standard import summarize
from jaxepi.metrics.sums import ErrorSums, PearsonSums
from jaxepi.sequence import NOTHING, N, one_hot, reverse_complement
from jaxepi.systems.basenji import losses as losses
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig, BasenjiOutputs, with_units
from jaxepi.systems.basenji.shapes import Geometry
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot


@dataclasses.dataclass(frozen=True)
class BasenjiObjective:
    """How records become inputs and targets, and what is minimised."""

    head: int = dataclasses.field(default=0, metadata={"least": 0})  # number of the head that predicts the dataset
    reverse_complement: bool = False  # flip half of the training windows
    shift: int = dataclasses.field(default=0, metadata={"least": 0})  # bp; move training windows up to so far
    # The original draws one flip and one shift for all windows of a batch; here each window has its own.
    one_draw_per_batch: bool = False
    # What a moved window has where nothing came in. The original: 0 since January 2022, 0.25 before.
    shift_pad: float = 0.0
    # of each track the number of the one on the other strand; (): as the dataset says, or each is its own
    strand_pair: tuple[int, ...] = dataclasses.field(default=(), metadata={"least": 0})

    def __post_init__(self) -> None:
        object.__setattr__(self, "strand_pair", tuple(self.strand_pair))


class Predicted(NamedTuple):
    """What the loss needs of the model."""

    outputs: BasenjiOutputs
    penalty: jax.Array  # scalar


class BasenjiTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    monitor = "pearson_bin_per_track_mean"
    options = Options(region="bin", label_threshold=None, unit="coverage", system="basenji")
    window: int

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.objective = from_section(BasenjiObjective, objective, "config.task")
        self.shift_pad = self.objective.shift_pad
        self.tracks, self._columns = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        self.window = int(manifest["window"])
        self.model_config = self._sizes(sizes)
        self.strand_pair = self._strand_pair()
        self.grid = self._grid(self.model_config.geometry(self.objective.head))

    def _sizes(self, sizes: Mapping[str, Any]) -> BasenjiConfig:
        """The model's config for this dataset: its window, and as many units as it has tracks where none are said."""
        config = from_section(BasenjiConfig, sizes, "config.model", window=self.window)
        head, count = self.objective.head, len(self.tracks)
        if not config.heads:
            return config
        if head >= len(config.heads):
            raise JaxepiError(f"config.task.head is {head}, but the model has {len(config.heads)} head(s), from 0 on.")
        if config.units(head) is None:
            counts = [count if number == head else None for number in range(len(config.heads))]
            config = dataclasses.replace(config, heads=with_units(config.heads, counts))
        if config.geometry(head).shape[-1] != count:
            raise JaxepiError(
                f"config.model.heads[{head}] predicts {config.geometry(head).shape[-1]} tracks, but the dataset has "
                f"{count}: leave out `units` of its last block, or choose as many tracks."
            )
        return config

    def _grid(self, found: Geometry) -> Grid:
        """Where the values lie: what the dataset says of its bins, which must be what the network makes."""
        width = int(self.manifest.get("bin_width", found.stride))
        crop, bins = int(self.manifest.get("crop", found.crop)), self.manifest.get("bins")
        if len(found.shape) == 1:
            return Grid("site")
        if found.diagonal is not None:
            grid = Grid("pair", bin=found.stride, crop=found.crop, diagonal=found.diagonal)
        else:
            grid = Grid("bin", bin=width, crop=crop)
        if bins is not None and int(bins) != found.shape[0]:
            raise JaxepiError(
                f"The network makes {found.shape[0]} values of a window of {self.window} bp ({found.stride} bp a bin, "
                f"{found.crop} bp cropped at both ends), but the dataset has {bins} of {width} bp: set the pools and "
                "the cropping of config.model.trunk to it, or prepare the data for this network."
            )
        if found.shape[0] > 1 and found.diagonal is None and width != found.stride:
            raise JaxepiError(
                f"The network makes bins of {found.stride} bp, but those of the dataset have {width} bp: set the pools "
                "of config.model.trunk to it, or prepare the data for this network."
            )
        return grid

    def _strand_pair(self) -> tuple[int, ...] | None:
        """Of each chosen track the number of the one on the other strand; None if each is its own.

        Raises:
          JaxepiError: numbers that are no pairs, or a pair of which one track was not chosen.
        """
        told = list(self.objective.strand_pair or self.manifest.get("strand_pair") or ())
        names = self.manifest["tracks"]
        if not told or told == list(range(len(told))):
            return None
        if sorted(told) != list(range(len(names))):
            raise JaxepiError(
                f"strand_pair names {len(told)} tracks from {min(told)} to {max(told)}, but each of the {len(names)} "
                "tracks was expected once: see the column strand_pair of the targets table."
            )
        kept = list(range(len(names)))[self._columns] if isinstance(self._columns, slice) else self._columns
        for column in kept:
            if told[column] not in kept:
                raise JaxepiError(
                    f"config.dataset.tracks has {names[column]!r} without {names[told[column]]!r}, its track of the "
                    "other strand: choose both, or set config.task.strand_pair."
                )
        return tuple(kept.index(told[column]) for column in kept)

    def build_model(self, rngs: nnx.Rngs) -> Basenji:
        return Basenji(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to sequence (B, L) uint8, target (B, T, K) float16, row_mask (B,)."""
        shape = (len(records), self.grid.values(self.window), len(self.tracks))
        batch = {
            "sequence": np.full((len(records), self.window), N, np.uint8),
            "target": np.zeros(shape, np.float16),
            "row_mask": np.array([record is not None for record in records], np.float32),
        }
        for row, record in enumerate(records):
            if record is not None:
                batch["sequence"][row] = record["sequence"]
                batch["target"][row] = record["target"][:, self._columns]
        return batch

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        codes, target = batch["sequence"], batch["target"].astype(jnp.float32)
        goal = self.objective
        if train and goal.reverse_complement:
            flip = self._draw(jax.random.fold_in(rng, 1), len(codes), lambda key, n: jax.random.bernoulli(key, 0.5, n))
            codes = jnp.where(flip[:, None], reverse_complement(codes), codes)
            target = jnp.where(flip[:, None, None], self.mirrored(target), target)
        if train and goal.shift:
            by = self._draw(
                jax.random.fold_in(rng, 2), len(codes),
                lambda key, n: jax.random.randint(key, n, -goal.shift, goal.shift + 1),
            )  # fmt: skip
            codes = moved(codes, by, goal.shift)
        x = one_hot(codes, n_value=0.0)
        if train and goal.shift and goal.shift_pad:
            x = jnp.where((codes == NOTHING)[..., None], goal.shift_pad, x)
        inputs = {"x": x} | ({"rng": jax.random.fold_in(rng, 3)} if train else {})
        return inputs, {"target": target, "row_mask": batch["row_mask"]}

    def _draw(self, key: jax.Array, rows: int, draw: Any) -> jax.Array:
        """What `draw(key, shape)` gives for each row, or for all the same."""
        if self.objective.one_draw_per_batch:
            return jnp.broadcast_to(draw(key, (1,)), (rows,))
        return draw(key, (rows,))

    def accept(self, x: Any, **further: Any) -> Batch:
        """Windows of sequence, see `jaxepi.windows.as_windows`."""
        del further
        return {"x": as_windows(x, self.window)}

    def expand(self, accepted: Batch) -> Batch:
        return {"x": hot(accepted["x"], n_value=0.0)}

    def apply(self, model: nnx.Module, inputs: Batch) -> Predicted:
        return Predicted(model(inputs["x"], head=self.objective.head, rng=inputs.get("rng")), model.penalty())

    def values(self, outputs: Predicted) -> jax.Array:
        """Coverage (B, T, K) of the head; of a network without heads the trunk, whose channels are the tracks."""
        heads = outputs.outputs.heads
        made = heads[self.objective.head] if heads else outputs.outputs.trunk
        made = made.astype(jnp.promote_types(made.dtype, jnp.float32))
        return made if made.ndim == 3 else made[:, None]

    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """The trunk behind its last activation (B, T, C)."""
        trunk = model(inputs["x"], head=self.objective.head).trunk
        return trunk if trunk.ndim == 3 else trunk[:, None]

    def loss(self, outputs: Predicted, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Poisson loss of all bins and tracks, and the penalty of the weights."""
        per_place = losses.poisson(self.values(outputs), targets["target"])
        fit = losses.mean_of_rows(per_place, targets["row_mask"])
        return fit + outputs.penalty, {"fit": fit, "penalty": outputs.penalty}

    def predictions(self, outputs: Predicted, targets: Batch) -> dict[str, jax.Array]:
        values = self.values(outputs)
        mask = jnp.broadcast_to(targets["row_mask"][:, None, None] > 0, values.shape)
        offset = self.grid.crop + self.grid.bin * jnp.arange(values.shape[1])
        offset = jnp.broadcast_to(offset[None], values.shape[:2])
        return {"prediction": values, "target": targets["target"], "mask": mask, "offset": offset}

    def metrics(self, outputs: Predicted, targets: Batch) -> dict[str, Any]:
        seen = self.predictions(outputs, targets)
        values = (seen["prediction"], seen["target"], seen["mask"])
        return {"bin/pearson": PearsonSums.from_values(*values), "bin/error": ErrorSums.from_values(*values)}

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        return summarize(metrics)


def moved(codes: jax.Array, by: jax.Array, most: int) -> jax.Array:
    """Codes (B, L) moved to the right by `by` (B,) bases, at most `most` either way; `NOTHING` comes in."""
    padded = jnp.pad(codes, [(0, 0), (most, most)], constant_values=NOTHING)

    def one(row: jax.Array, by: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(row, (most - by,), (codes.shape[1],))

    return jax.vmap(one)(padded, by)
