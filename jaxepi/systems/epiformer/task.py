"""Epiformer as a task: a window of sequence, perhaps its conservation, and the coverage or the peaks of its bins.

A record holds base codes, float16 targets of each bin, and where the dataset has them `conservation` (L,) float16 and
`label` (bins, K) uint8 (see docs/data_format.md). One-hot arrays are made on the device. An N is a row of zeros.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import from_section
from jaxepi.errors import JaxepiError
from jaxepi.metrics.standard import ErrorSums, MeanSums, PearsonSums, standard_metrics, summarize
from jaxepi.sequence import N, one_hot
from jaxepi.systems.epiformer import losses as losses
from jaxepi.systems.epiformer.model import Epiformer, EpiformerConfig, EpiformerOutputs
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot


@dataclasses.dataclass(frozen=True)
class EpiformerObjective:
    """How records become inputs and targets, and what is minimised."""


class EpiformerTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    monitor = "pearson_bin_per_track_mean"
    options = Options(region="bin", label_threshold=None, unit="coverage", system="epiformer")
    further = ("conservation",)
    per_base = ("conservation",)
    window: int

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.objective = from_section(EpiformerObjective, objective, "config.task")
        self.tracks, self._columns = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        self.window = int(manifest["window"])
        decided = {"window": self.window, "tracks": len(self.tracks)}
        self.model_config = config = from_section(EpiformerConfig, sizes, "config.model", **decided)
        self.grid = Grid("bin", bin=config.stride, crop=config.crop_size * config.stride)
        self._first = self._cut()
        self._classes = config.kind == "label"
        if self._classes:
            self._check_labels()
            self.options = dataclasses.replace(type(self).options, label_threshold=0.5, unit="probability")
        self._conserved = config.conservation and bool(manifest.get("conservation"))

    def _cut(self) -> int:
        """How many bins of a record come before the first one that is predicted.

        Raises:
          JaxepiError: the dataset's bins have another width, or are fewer than those that the model predicts.
        """
        grid, bins = self.grid, self.manifest.get("bins")
        width, crop = int(self.manifest.get("bin_width", grid.bin)), int(self.manifest.get("crop", grid.crop))
        if width != grid.bin:
            raise JaxepiError(
                f"The network makes bins of {grid.bin} bp, but those of the dataset have {width} bp: set "
                "config.model.num_cnn_layer to it, or prepare the data for this network."
            )
        before = (grid.crop - crop) // width
        places = grid.values(self.window)
        if crop > grid.crop or (grid.crop - crop) % width or before + places > int(places if bins is None else bins):
            raise JaxepiError(
                f"The network predicts {places} bins of a window of {self.window} bp, {grid.crop} bp cropped at both "
                f"ends, but the dataset has {bins} bins and crops {crop} bp: raise config.model.crop_size, or prepare "
                "the data with a smaller --crop."
            )
        return before

    def _check_labels(self) -> None:
        """Raises JaxepiError if records are known to have no labels."""
        if self.manifest.get("labels") is False:
            raise JaxepiError(
                'config.model.kind is "label", but the dataset has no labels: prepare it with a column `peak` in its '
                'table of targets, or set kind to "signal".'
            )

    def build_model(self, rngs: nnx.Rngs) -> Epiformer:
        return Epiformer(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to sequence (B, L) uint8, target (B, T, K), row_mask (B,); perhaps conservation (B, L) float16."""
        shape, name = (len(records), self.grid.values(self.window), len(self.tracks)), self._target
        batch = {
            "sequence": np.full((len(records), self.window), N, np.uint8),
            "target": np.zeros(shape, np.uint8 if self._classes else np.float16),
            "row_mask": np.array([record is not None for record in records], np.float32),
        }
        if self._conserved:
            batch["conservation"] = np.zeros((len(records), self.window), np.float16)
        bins = slice(self._first, self._first + shape[1])
        for row, record in enumerate(records):
            if record is None:
                continue
            batch["sequence"][row] = record["sequence"]
            batch["target"][row] = record[name][bins, self._columns]
            if self._conserved:
                batch["conservation"][row] = record["conservation"]
        return batch

    @property
    def _target(self) -> str:
        """The entry of a record with the targets."""
        return "label" if self._classes else "target"

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        target = batch["target"].astype(jnp.float32)
        keep = jnp.broadcast_to(batch["row_mask"][:, None] > 0, target.shape[:2])
        inputs = {"x": one_hot(batch["sequence"], n_value=0.0)}
        if self._conserved:
            inputs["conservation"] = batch["conservation"].astype(jnp.float32)
        if train:
            inputs["rng"] = jax.random.fold_in(rng, 3)
        return inputs, {"target": target, "keep": keep}

    def accept(self, x: Any, conservation: Any = None, **further: Any) -> Batch:
        """Windows of sequence, see `jaxepi.windows.as_windows`, and their conservation (B, L) or None.

        Warns of arrays whose windows have another length than the model's, which the network may take.
        """
        del further
        length = self._length(x)
        if length != self.window:
            places = self.model_config.kept(length)
            warnings.warn(
                f"windows of {length} bp were given to a model of {self.window} bp: it predicts {places} bins of them",
                stacklevel=2,
            )
        accepted = {"x": as_windows(x, length)}
        if conservation is not None:
            accepted["conservation"] = self._accepted_conservation(conservation, accepted["x"].shape[:2])
        return accepted

    def _length(self, x: Any) -> int:
        """bp of the windows of an array of one-hot rows or codes; of anything else those of the model."""
        shape = tuple(getattr(x, "shape", ()))
        if len(shape) not in (2, 3) or np.asarray(x).dtype.kind in "USO":
            return self.window
        if shape[-1] == 4:
            return shape[-2]
        return shape[1] if len(shape) == 2 else self.window

    def _accepted_conservation(self, given: Any, shape: tuple[int, ...]) -> np.ndarray:
        """Conservation (B, L) float32.

        Raises:
          JaxepiError: another shape, no numbers, NaN or infinity, or a model that reads none.
        """
        if not self.model_config.conservation:
            raise JaxepiError("This model was trained without conservation: leave it out.")
        values = np.asarray(given)
        values = values[None] if values.shape == shape[1:] and shape[0] == 1 else values
        if values.shape != shape or values.dtype.kind not in "fiub":
            raise JaxepiError(
                f"conservation has the shape {values.shape} and type {values.dtype}, but one number for each base of "
                f"the windows was expected, {shape}."
            )
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise JaxepiError("conservation holds NaN or infinity: give 0 where nothing is known of a base.")
        return values

    def expand(self, accepted: Batch) -> Batch:
        return accepted | {"x": hot(accepted["x"], n_value=0.0)}

    def apply(self, model: nnx.Module, inputs: Batch) -> EpiformerOutputs:
        return model(inputs["x"], inputs.get("conservation"), rng=inputs.get("rng"))

    def values(self, outputs: EpiformerOutputs) -> jax.Array:
        """Coverage, or of labels probabilities (B, T, K)."""
        return outputs.values

    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """The kept positions of the encoder (B, T, C)."""
        return model(inputs["x"], inputs.get("conservation")).trunk

    def _places(self, outputs: EpiformerOutputs, targets: Batch) -> jax.Array:
        """The loss of each place (B, T, K)."""
        loss = losses.cross_entropy if self._classes else losses.poisson
        return loss(outputs.values, targets["target"])

    def loss(self, outputs: EpiformerOutputs, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean over the places that count."""
        keep = jnp.broadcast_to(targets["keep"][..., None], outputs.values.shape)
        fit = self._places(outputs, targets).sum(where=keep) / jnp.maximum(keep.sum(), 1)
        return fit, {"fit": fit}

    def predictions(self, outputs: EpiformerOutputs, targets: Batch) -> dict[str, jax.Array]:
        values = self.values(outputs)
        mask = jnp.broadcast_to(targets["keep"][..., None], values.shape)
        offset = self.grid.crop + self.grid.bin * jnp.arange(values.shape[1])
        offset = jnp.broadcast_to(offset[None], values.shape[:2])
        return {"prediction": values, "target": targets["target"], "mask": mask, "offset": offset}

    def metrics(self, outputs: EpiformerOutputs, targets: Batch) -> dict[str, Any]:
        seen = self.predictions(outputs, targets)
        values = (seen["prediction"], seen["target"], seen["mask"])
        found: dict[str, Any] = {"bin/pearson": PearsonSums.from_values(*values)}
        if self._classes:
            found = standard_metrics(*values, region="bin")
        found["bin/error"] = ErrorSums.from_values(*values)
        found["loss/fit"] = MeanSums.from_values(self._places(outputs, targets), seen["mask"])
        return found

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The usual values, and `loss_total`, what training minimises."""
        rest = {name: metric for name, metric in metrics.items() if not name.startswith("loss/")}
        fit = metrics["loss/fit"].to_host()
        return summarize(rest) | {"loss_total": float(fit.total.sum() / max(fit.count.sum(), 1))}
