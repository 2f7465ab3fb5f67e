"""Melody ST and MT as a task: 10-kb windows with methylation per CpG and track.

A record holds base codes and the recorded sites (see docs/data_format.md). On the device the sites become a
dense matrix beta (B, L, K): 0 off CpGs, the methylation at CpGs, -1 where a CpG is missing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import check_choices, from_section
from jaxepi.metrics.standard import standard_metrics, summarize
from jaxepi.sequence import NOTHING, is_cpg, one_hot, reverse_complement
from jaxepi.systems.melody import losses as losses
from jaxepi.systems.melody.model import Melody, MelodyConfig, MelodyOutputs, check_window
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot


@dataclasses.dataclass(frozen=True)
class MelodyObjective:
    """How records become targets, and what is minimised. Defaults are the correct choice for new training."""

    focal: str = "fixed"  # weights of CpGs in the main loss: none | fixed | advanced
    any_cpg_weight: float = 8.0  # fixed: a CpG with beta >= 0.5 weighs 1 + this
    low_cpg_weight: float = 32.0  # fixed: a CpG with beta < 0.5 weighs this
    focal_gamma: float = 0.0  # exponent of the focal factor; the original never passes one
    target: str = "beta"  # beta: soft labels; binary: 1 if beta >= 0.5
    count_weight: float = 0.01  # weight of the CpG-count loss; 0 switches it off
    count_bin_width: int = 5  # CpG letters per class of the CpG-count head
    average_weight: float = 1.0  # weight of the regional-mean loss; 0 switches it off
    loss_ceiling: float = 1e7  # a track whose loss is above this, or not finite, is left out of the mean
    # A CpG without any record: "missing" leaves it out, "unmethylated" takes it as 0 as the original does.
    recordless: str = "missing"
    # The original's weight mask also counts N next to N, C or G as CpG (its one-hot N is 0.25 four times).
    n_counts_as_cpg: bool = False
    reverse_complement: bool = False  # flip half of the training windows; the original never does

    def __post_init__(self) -> None:
        check_choices(
            self,
            "config.task",
            focal=("none", "fixed", "advanced"),
            target=("beta", "binary"),
            recordless=("missing", "unmethylated"),
        )


class MelodyTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    monitor = "auc_cpg_per_track_mean"
    grid = Grid("cpg")
    options = Options(region="cpg", system="melody")
    window: int

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.tracks, self._columns = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        self.window = int(manifest["window"])
        check_window(self.window)
        self.model_config = from_section(MelodyConfig, sizes, "config.model", tracks=len(self.tracks))
        self.objective = from_section(MelodyObjective, objective, "config.task")
        self.max_sites = int(manifest["max_sites"])
        # room for the CpG letters of any window, so that metrics work on (B, S, K) and not on (B, L, K)
        self.max_letters = max(int(manifest["max_cpg_letters"]), 2)

    def build_model(self, rngs: nnx.Rngs) -> Melody:
        return Melody(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to sequence (B, L) uint8, position and width (B, S), value (B, S, K), row_mask (B,)."""
        rows, tracks = len(records), len(self.tracks)
        batch = {
            "sequence": np.full((rows, self.window), 4, np.uint8),
            "position": np.full((rows, self.max_sites), self.window, np.int32),
            "width": np.zeros((rows, self.max_sites), np.uint8),
            "value": np.full((rows, self.max_sites, tracks), np.nan, np.float32),
            "blanked": np.zeros(rows, np.uint8),
            "row_mask": np.zeros(rows, np.float32),
        }
        for row, record in enumerate(records):
            if record is None:
                continue
            sites = len(record["position"])
            batch["sequence"][row] = record["sequence"]
            batch["position"][row, :sites] = record["position"]
            batch["width"][row, :sites] = record["width"]
            batch["value"][row, :sites] = record["value"][:, self._columns]
            batch["blanked"][row] = record.get("blanked", 0)
            batch["row_mask"][row] = 1.0
        return batch

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        codes = batch["sequence"]
        beta = densify(batch["position"], batch["width"], batch["value"], self.window)
        if train and self.objective.reverse_complement:
            flip = jax.random.bernoulli(rng, 0.5, (codes.shape[0],))
            codes = jnp.where(flip[:, None], reverse_complement(codes), codes)
            beta = jnp.where(flip[:, None, None], beta[:, ::-1], beta)
        cpg = is_cpg(codes)
        recordless = 0.0 if self.objective.recordless == "unmethylated" else jnp.where(cpg, -1.0, 0.0)[..., None]
        beta = jnp.where(jnp.isnan(beta), recordless, beta)
        beta = jnp.where(batch["row_mask"][:, None, None] > 0, beta, -1.0)
        # a blanked window (blacklist, parity) is an all-zero input that keeps its real targets
        codes = jnp.where(batch["blanked"][:, None] > 0, NOTHING, codes)
        return {"x": one_hot(codes)}, {"codes": codes, "beta": beta, "row_mask": batch["row_mask"]}

    def accept(self, x: Any, **further: Any) -> Batch:
        """Windows of sequence, see `jaxepi.windows.as_windows`."""
        del further
        return {"x": as_windows(x, self.window)}

    def expand(self, accepted: Batch) -> Batch:
        return {"x": hot(accepted["x"])}

    def apply(self, model: nnx.Module, inputs: Batch) -> MelodyOutputs:
        return model(inputs["x"])

    def values(self, outputs: MelodyOutputs) -> jax.Array:
        """Methylation (B, L, K) in [0, 1]; only that of CpG letters was ever trained."""
        return jax.nn.sigmoid(outputs.logits)

    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """The trunk (B, L, width), which all three heads read."""
        return model(inputs["x"], intermediates=True).intermediates["trunk"]

    def loss(self, outputs: MelodyOutputs, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Mean track loss + count_weight · CpG-count loss + average_weight · regional-mean loss."""
        per_track = self.track_losses(outputs.logits, targets)
        tracks, usable = losses.mean_of_usable(per_track, self.objective.loss_ceiling)
        terms = {"tracks": tracks, "tracks_used": usable.astype(jnp.float32)}
        total = tracks
        codes, row_mask = targets["codes"], targets["row_mask"]
        if self.objective.count_weight:
            count = losses.count_loss(outputs.cg_count, codes, row_mask, self.objective.count_bin_width)
            terms["cpg_count"] = self.objective.count_weight * count
            total = total + terms["cpg_count"]
        if self.objective.average_weight:
            average = losses.regional_mean_loss(outputs.methy_avg, codes, targets["beta"], row_mask)
            terms["regional_mean"] = self.objective.average_weight * average
            total = total + terms["regional_mean"]
        return total, terms

    def track_losses(self, logits: jax.Array, targets: Batch) -> jax.Array:
        """The main loss of every track (K,); NaN where a track has no valid position."""
        beta, goal = targets["beta"], self.objective
        cpg = losses.cpg_or_n(targets["codes"]) if goal.n_counts_as_cpg else is_cpg(targets["codes"])
        weights: jax.Array | float = 1.0
        if goal.focal == "fixed":
            weights = losses.fixed_weights(cpg, beta, goal.any_cpg_weight, goal.low_cpg_weight)
        elif goal.focal == "advanced":
            weights = losses.distance_weights(cpg, beta)
        target = (beta >= 0.5).astype(jnp.float32) if goal.target == "binary" else beta
        return losses.track_losses(logits, target, beta >= 0, weights, goal.focal_gamma)

    def predictions(self, outputs: MelodyOutputs, targets: Batch) -> dict[str, jax.Array]:
        """Methylation at the CpG letters of each window: S is the largest number of letters in the dataset."""
        cpg = is_cpg(targets["codes"])
        offset = jax.vmap(lambda row: jnp.nonzero(row, size=self.max_letters, fill_value=self.window)[0])(cpg)
        at = jnp.minimum(offset, self.window - 1)[..., None]
        target = jnp.take_along_axis(targets["beta"], at, axis=1)
        known = (offset < self.window)[..., None] & (target >= 0) & (target <= 1)
        return {
            "prediction": jnp.take_along_axis(self.values(outputs), at, axis=1),
            "target": jnp.where(known, target, 0.0),
            "mask": known,
            "offset": offset,
        }

    def metrics(self, outputs: MelodyOutputs, targets: Batch) -> dict[str, Any]:
        seen = self.predictions(outputs, targets)
        return standard_metrics(seen["prediction"], seen["target"], seen["mask"], region="cpg")

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        return summarize(metrics)


def densify(position: jax.Array, width: jax.Array, value: jax.Array, length: int) -> jax.Array:
    """Sites to bases: position and width (B, S), value (B, S, K) to (B, L, K), NaN where nothing is recorded.

    A site of width 2 holds for two bases. Positions >= L are padding.
    """

    def one(position: jax.Array, width: jax.Array, value: jax.Array) -> jax.Array:
        dense = jnp.full((length, value.shape[-1]), jnp.nan, value.dtype)
        dense = dense.at[position].set(value, mode="drop")
        second = jnp.where(width == 2, position + 1, length)
        return dense.at[second].set(value, mode="drop")

    return jax.vmap(one)(position, width, value)
