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
from jaxepi.metrics.groups import GROUP_BINS
from jaxepi.metrics.standard import (
    AUC_BINS,
    MeanSums,
    PearsonSums,
    regression_metrics,
    standard_metrics,
    summarize,
)
from jaxepi.sequence import N, one_hot
from jaxepi.systems.epiformer.augment import Draws, alternating, augmented, of_windows, turned
from jaxepi.systems.epiformer.losses import label_loss, mean_over, signal_loss
from jaxepi.systems.epiformer.model import Epiformer, EpiformerConfig, EpiformerOutputs
from jaxepi.systems.epiformer.objective import EpiformerObjective
from jaxepi.task import UPDATE, Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot

FEW_TRACKS = 64  # with more, the histograms behind an AUC are coarser


class EpiformerTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    monitor = "pearson_log2_bin_per_track_mean"
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
            self.monitor = "auc_bin_per_track_mean"
        self.shift_pad = self.objective.shift_pad
        self.counts_updates = self.objective.augment == "alternate"
        self.validates_as_trained = self.objective.validate_in_training_mode
        self._conserved = config.conservation and bool(_conservation(manifest))

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
        target, conservation = batch["target"].astype(jnp.float32), batch.get("conservation")
        known = (batch["row_mask"] > 0)[:, None, None]
        codes = batch["sequence"]
        if conservation is not None:
            conservation = conservation.astype(jnp.float32)
        if train:
            goal, draws = self.objective, self.draws(batch, jax.random.fold_in(rng, 1))
            target = turned(target, draws.flip)
            x, conservation = augmented(
                codes, conservation, draws, goal.shift, goal.shift_pad, goal.shift_conservation
            )  # fmt: skip
        else:
            x = one_hot(codes, n_value=0.0)
        inputs = {"x": x} | ({} if conservation is None else {"conservation": conservation})
        if train:
            inputs["rng"] = jax.random.fold_in(rng, 3)
        lost = jnp.isnan(target)
        return inputs, {"target": target, "keep": known & ~lost, "lost": known & lost}

    def draws(self, batch: Batch, rng: jax.Array) -> Draws:
        """Which windows of a training batch are turned and how far each is moved.

        Without the number of its update, as in validation, a batch counts as the first of its epoch.
        """
        goal, rows = self.objective, len(batch["sequence"])
        if goal.augment == "window":
            return of_windows(rng, rows, goal.reverse_complement, goal.shift)
        update = batch[UPDATE][0] if UPDATE in batch else jnp.int32(0)
        return alternating(rng, rows, update, goal.reverse_complement, goal.shift)

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

    def _each(self, outputs: EpiformerOutputs, targets: Batch) -> jax.Array:
        """The loss of each value (B, T, K)."""
        loss = label_loss if self._classes else signal_loss
        return loss(outputs.values, targets["target"], targets["keep"], self.objective.rules)

    def loss(self, outputs: EpiformerOutputs, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The mean over the values that count; `lost` is the share of values that are NaN and do not."""
        fit = mean_over(self._each(outputs, targets), targets["keep"])
        return fit, {"fit": fit, "lost": targets["lost"].mean()}

    def predictions(self, outputs: EpiformerOutputs, targets: Batch) -> dict[str, jax.Array]:
        values = self.values(outputs)
        offset = self.grid.crop + self.grid.bin * jnp.arange(values.shape[1])
        offset = jnp.broadcast_to(offset[None], values.shape[:2])
        return {"prediction": values, "target": targets["target"], "mask": targets["keep"], "offset": offset}

    def metrics(self, outputs: EpiformerOutputs, targets: Batch) -> dict[str, Any]:
        """Sums over values as they are (region "bin") and, of coverage, over log2(1 + coverage) ("log2_bin")."""
        p, t, keep = outputs.values, targets["target"], targets["keep"]
        if self._classes:
            bins = AUC_BINS if len(self.tracks) <= FEW_TRACKS else GROUP_BINS
            found = standard_metrics(p, t, keep, region="bin", bins=bins)
        else:
            found = regression_metrics(p, t, keep, region="bin")
            found["log2_bin/pearson"] = PearsonSums.from_values(jnp.log2(1 + p), jnp.log2(1 + t), keep)
        found["loss/fit"] = MeanSums.from_values(self._each(outputs, targets), keep)
        found["loss/lost"] = MeanSums.from_values(targets["lost"], keep | targets["lost"])
        return found

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The usual values; `loss_total`, what training minimises; and how many values were NaN and left out."""
        rest = {name: metric for name, metric in metrics.items() if not name.startswith("loss/")}
        fit, lost = (metrics[f"loss/{part}"].to_host() for part in ("fit", "lost"))
        return summarize(rest) | {
            "loss_total": float(fit.total.sum() / max(fit.count.sum(), 1)),
            "n_nan_bin_total": round(float(lost.total.sum())),
        }


def _conservation(manifest: Mapping[str, Any]) -> Any:
    """What a dataset says of its conservation, None if nothing.

    Raises:
      JaxepiError: of several datasets one has conservation and another does not.
    """
    several = manifest.get("datasets", ())
    return manifest["conservation"] if any("conservation" in one for one in (manifest, *several)) else None
