"""CS282A as a task: windows as embeddings of a trunk, or as sequence that a trunk of another system reads first.

A record holds `embedding` (T, C) (or `sequence` (L,)) and `target` (T, K) in bins or (1, K) of the window as a whole.
P = T for the linear head, 1 for the others, which predict one value of all bins together.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import check_choices, from_section
from jaxepi.errors import JaxepiError
from jaxepi.metrics.standard import MeanSums, regression_metrics, summarize
from jaxepi.systems.cs282a import losses as losses
from jaxepi.systems.cs282a.embeddings import KIND, EmbeddingInput, same_trunk
from jaxepi.systems.cs282a.model import Cs282a, Cs282aConfig, HeadOutputs
from jaxepi.systems.cs282a.trunk import SequenceInput, strand_pairs
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks

LOSSES = ("head", "poisson", "mse")


@dataclasses.dataclass(frozen=True)
class Cs282aObjective:
    """How records become inputs and targets, and what is minimised; defaults are the right ones for new training."""

    loss: str = "head"  # poisson | mse | head: poisson in bins (linear), mse of windows (the others)
    # The original takes labels of bins as whole numbers, cut off towards 0, for the loss and its metric.
    truncate_labels: bool = False
    # A label that is no number: "mask" leaves it out. The original lets it spoil the loss and makes every gradient that
    # is then no number 0, so that such a batch moves only the last layer's weights of the other tracks.
    nan_labels: str = "mask"  # mask | nan_to_num_grads
    # Labels of a window for the heads that predict one: "dataset", which then must hold one value a window, or "mean",
    # the mean over its bins that have one (of sequence with tracks in bins, always the mean)
    window_labels: str = "dataset"
    # attention_axis "batch": the examples of a batch see each other in evaluation too, as in the original's validation;
    # False: each is alone, as in its predictions.
    mix_in_evaluation: bool = False
    # Which trunk made the embeddings, as their dataset tells it; "" = that of the dataset. Others are refused.
    trunk_weights: str = ""

    def __post_init__(self) -> None:
        check_choices(
            self,
            "config.task",
            loss=LOSSES,
            nan_labels=("mask", "nan_to_num_grads"),
            window_labels=("dataset", "mean"),
        )


class Cs282aTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.objective = from_section(Cs282aObjective, objective, "config.task")
        self.tracks, self._columns = choose_tracks(list(manifest["tracks"]), tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        decided = {"tracks": len(self.tracks), **_bins(manifest)}
        stored = manifest.get("kind", KIND) == KIND
        if stored:
            decided["channels"] = int(manifest["channels"])
        config = from_section(Cs282aConfig, sizes, "config.model", **decided)
        _check_source(config, stored)
        self.objective = dataclasses.replace(self.objective, trunk_weights=same_trunk(self.objective, manifest))
        self.input = (
            EmbeddingInput(config.bins, config.channels, manifest) if stored else SequenceInput(config, manifest)
        )
        self.model_config = dataclasses.replace(config, channels=self.input.channels)
        self.trunks = self.input.trunks
        self.window = self.input.window
        self.strand_pair = strand_pairs(manifest, self._columns)
        self.per_bin = config.per_bin
        self._average = self._label_level()
        if self.per_bin:
            self.grid = Grid("bin", bin=config.bin_width, crop=config.crop, places=config.bins)
        else:  # one bin, as wide as all of them
            self.grid = Grid("bin", bin=config.bins * config.bin_width, crop=config.crop)
        self.loss_name = self.objective.loss
        if self.loss_name == "head":
            self.loss_name = "poisson" if self.per_bin else "mse"
        self.region = "bin" if self.per_bin else "window"
        self.monitor = f"pearson_{self.region}_per_track_mean"
        self.options = Options(
            region=self.region, label_threshold=None, windows=0, unit="label", system="cs282a", flat_ranks=True
        )

    def _label_level(self) -> bool:
        """Whether the labels of bins are averaged.

        Raises:
          JaxepiError: the dataset holds labels of another level than the head predicts.
        """
        level, head = self.manifest.get("resolution", "bin"), self.model_config.head
        if self.per_bin and level != "bin":
            raise JaxepiError(
                f"config.model.head={head} predicts bins, but the dataset holds one label a window: prepare it with "
                "labels in bins, or take head conv, maxpool or transformer."
            )
        if self.per_bin or level != "bin":
            return False
        if self.window is None and self.objective.window_labels == "dataset":
            raise JaxepiError(
                f"config.model.head={head} predicts one value a window, but the dataset holds labels in bins: prepare "
                "it with labels of windows, or set config.task.window_labels=mean."
            )
        return True

    def build_model(self, rngs: nnx.Rngs) -> Cs282a:
        return Cs282a(self.model_config, trunk=self.input.build(rngs), rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to what the input reads, `target` (B, T or 1, K) float32 and `row_mask` (B,).

        Raises:
          JaxepiError: a record whose embedding or target has another shape.
        """
        bins = 1 if not (self.per_bin or self._average) else int(self.manifest["bins"])
        target = np.full((len(records), bins, len(self.tracks)), np.nan, np.float32)
        for row, record in enumerate(records):
            if record is not None:
                found = np.asarray(record["target"])
                if found.shape != (bins, len(self.manifest["tracks"])):
                    expected = (bins, len(self.manifest["tracks"]))
                    raise JaxepiError(
                        f"Record {record['key']} has labels of shape {found.shape}, but its manifest tells {expected}: "
                        "prepare the dataset again."
                    )
                target[row] = found[:, self._columns]
        rows = np.array([record is not None for record in records], np.float32)
        return {**self.input.collate(records), "target": target, "row_mask": rows}

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        config, goal = self.model_config, self.objective
        inputs = self.input.expand(batch)
        if config.head == "transformer":
            if train and config.dropout > 0:
                inputs["rng"] = jax.random.fold_in(rng, 1)
            if config.attention_axis == "batch" and (train or goal.mix_in_evaluation):
                inputs["rows"] = batch["row_mask"]
        target = batch["target"]
        if self._average:
            target = jnp.nanmean(target, axis=1, keepdims=True)
        if goal.truncate_labels:
            target = jnp.trunc(target)
        counts = jnp.broadcast_to(batch["row_mask"][:, None, None] > 0, target.shape)
        mask = counts & jnp.isfinite(target)
        return inputs, {"target": jnp.where(mask, target, 0.0), "mask": mask, "counts": counts}

    def accept(self, x: Any, **further: Any) -> Batch:
        """Embeddings (B, T, C), see `as_embeddings`; windows of sequence where a trunk is part of the model."""
        del further
        return self.input.accept(x)

    def expand(self, accepted: Batch) -> Batch:
        return self.input.expand(accepted)

    def apply(self, model: nnx.Module, inputs: Batch) -> HeadOutputs:
        embedding = self.input.embed(model, inputs)
        return model(embedding, rng=inputs.get("rng"), rows=inputs.get("rows"))

    def values(self, outputs: HeadOutputs) -> jax.Array:
        """Predicted labels (B, T, K), or (B, 1, K) of the window as a whole."""
        return outputs.values

    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """What the last layer reads: the embeddings (linear), or hidden channels in bins (conv) or of the window."""
        return self.apply(model, inputs).features

    def viewed(self, inputs: Batch, reverse: jax.Array, shift: jax.Array) -> Batch:
        return self.input.viewed(inputs, reverse, shift)  # of a trunk: `Views.check` lets only sequence come here

    def settled(self) -> dict[str, Any]:
        return dataclasses.asdict(self.objective)

    def loss(self, outputs: HeadOutputs, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Mean over all values of the batch; with nan_labels=mask over those that are known."""
        values, mask, counts = outputs.values, targets["mask"], targets["counts"]
        if self.objective.nan_labels == "mask":
            counts = mask
        else:
            values = losses.with_unknown_gradient(values, mask | ~counts)
        loss = losses.mean_loss(self.loss_name, values, targets["target"], mask, counts)
        return loss, {self.loss_name: loss}

    def mend_gradient(self, gradient: Any) -> Any:
        """With nan_labels=nan_to_num_grads 0 in place of NaN, and the largest numbers in place of infinities."""
        if self.objective.nan_labels == "mask":
            return gradient
        return jax.tree.map(jnp.nan_to_num, gradient)

    def predictions(self, outputs: HeadOutputs, targets: Batch) -> dict[str, jax.Array]:
        places = self.grid.bin * jnp.arange(outputs.values.shape[1], dtype=jnp.int32) + self.grid.crop
        return {
            "prediction": outputs.values,
            "target": targets["target"],
            "mask": targets["mask"],
            "offset": jnp.broadcast_to(places[None], outputs.values.shape[:2]),
        }

    def metrics(self, outputs: HeadOutputs, targets: Batch) -> dict[str, Any]:
        values = (outputs.values, targets["target"], targets["mask"])
        each = losses.elements(self.loss_name, outputs.values, targets["target"])
        return regression_metrics(*values, region=self.region) | {
            f"{self.region}/loss": MeanSums.from_values(each, targets["mask"], name="loss")
        }

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """`loss_<region>_flat` is the validation loss; `pearson_<region>_flat` what the original reports of windows."""
        return summarize(metrics)


def _bins(manifest: Mapping[str, Any]) -> dict[str, int]:
    """How many bins a window has, their width and what is left out around them.

    Raises:
      JaxepiError: the dataset does not tell, as where its trunk has no bins.
    """
    names = ("bins", "bin_width", "crop")
    for name in names:
        if not isinstance(manifest[name], int):
            raise JaxepiError(
                f"The manifest of the dataset has {name} {manifest[name]!r}, but a whole number was expected: embed "
                "the windows with a trunk that has bins, and prepare the dataset again."
            )
    return {name: manifest[name] for name in names}


def _check_source(config: Cs282aConfig, stored: bool) -> None:
    """Raises JaxepiError unless a trunk is named exactly where the dataset holds sequence."""
    if stored and config.trunk:
        raise JaxepiError(
            f"config.model.trunk is {config.trunk!r}, but the dataset holds embeddings, which need no trunk: leave it "
            "empty, or train on a dataset of sequence."
        )
    if not stored and not config.trunk:
        raise JaxepiError(
            "The dataset holds sequence, which a head alone does not read: name the system of a trunk in "
            "config.model.trunk, or write embeddings with `python launch.py embed` first."
        )
