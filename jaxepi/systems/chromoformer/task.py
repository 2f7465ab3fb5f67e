"""Chromoformer as a task: genes with the marks at their promoter and at their 3-D contacts, and their expression.

A record holds sums of read depth at one resolution, the contacts' lengths and scores (see docs/data_format.md). On the
device they become features at every bin size, masks and the matrix of interaction frequencies.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import check_choices, from_section
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.metrics.standard import Density, ErrorSums, MeanSums, PearsonSums, standard_metrics, summarize
from jaxepi.systems.chromoformer import losses as losses
from jaxepi.systems.chromoformer.bins import Layout, contact_bins, promoter_bins
from jaxepi.systems.chromoformer.model import (
    INPUTS,
    Chromoformer,
    ChromoformerConfig,
    ChromoformerOutputs,
    check_inputs,
)
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks

HIGHEST = 16.0  # of the scatter plot of log2(RPKM + 1)


@dataclasses.dataclass(frozen=True)
class ChromoformerObjective:
    """How records become inputs and targets, and what is minimised; defaults are the right ones for new training."""

    target: str = "label"  # label: high or low expression, cross-entropy; expression: log2(RPKM + 1), squared error
    marks: tuple[str, ...] = ()  # names of the marks to use, in this order; () = all of the dataset
    # contacts of a gene that the model sees, best first; 0 = the promoter alone
    max_pcres: int = dataclasses.field(default=8, metadata={"least": 0})
    promoter_width: int = 40_000  # bp around the TSS
    region_width: int = 40_000  # bp that the bins of a region cover: the longest contact, at least promoter_width
    # Genes with more contacts than max_pcres: "best" keeps the best, "refuse" stops as the original does.
    more_pcres: str = "best"
    # The original reverses bins, not bases, so that for genes on the minus strand the centre bin, the only one that
    # reaches the output, does not hold the TSS; True moves the regions so that it does on both strands.
    centre_tss: bool = True
    # The original reverses the promoters of genes on the minus strand but not their contacts; True reverses both.
    orient_pcres: bool = True
    # Probability of high expression: "softmax" of the logits; the original's demo takes the "sigmoid" of the second.
    probability: str = "softmax"
    # Validation loss of target=expression: "genes" is the mean squared error; the original compares each prediction
    # with the labels of all genes by accident, "all_pairs".
    validation_loss: str = "genes"

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", tuple(self.marks))
        check_choices(
            self,
            "config.task",
            target=("label", "expression"),
            more_pcres=("best", "refuse"),
            probability=("softmax", "sigmoid"),
            validation_loss=("genes", "all_pairs"),
        )
        if self.max_pcres < 0:
            raise JaxepiError(f"config.task.max_pcres is {self.max_pcres}, but must be 0 or more.")


class ChromoformerTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    grid = Grid("record")
    sequence_alone = False

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.objective = from_section(ChromoformerObjective, objective, "config.task")
        self.tracks, _ = choose_tracks(["expression"], tracks)
        self.marks, self._columns = choose_marks(list(manifest["marks"]), self.objective.marks)
        self._classes = self.objective.target == "label"
        self.model_config = from_section(
            ChromoformerConfig,
            sizes,
            "config.model",
            marks=len(self.marks),
            outputs=2 if self._classes else 1,
        )
        self.resolution = int(manifest["resolution"])
        self.stored_width = int(manifest["promoter_length"])
        check_widths(self.model_config, self.objective, self.resolution, self.stored_width)
        self.monitor = "auc_gene_per_track_mean" if self._classes else "pearson_gene_per_track_mean"
        threshold, unit = (0.5, "") if self._classes else (None, "log2(RPKM + 1)")
        self.options = Options(region="gene", label_threshold=threshold, windows=0, unit=unit, system="chromoformer")

    def build_model(self, rngs: nnx.Rngs) -> Chromoformer:
        return Chromoformer(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to one array a feature; S = max_pcres contacts of N = region_width / R stretches, M marks.

        Raises:
          JaxepiError: a gene has more contacts than the config allows, or a longer one.
        """
        rows, goal, marks = len(records), self.objective, len(self.marks)
        contacts, stretches = goal.max_pcres, goal.region_width // self.resolution
        batch = {
            "promoter": np.zeros((rows, self.stored_width // self.resolution, marks), np.float32),
            "promoter_span": np.zeros((rows, 2), np.int32),
            "minus": np.zeros(rows, np.uint8),
            "pcre": np.zeros((rows, contacts, stretches, marks), np.float32),
            "pcre_length": np.zeros((rows, contacts), np.int32),
            "score": np.zeros((rows, contacts), np.float32),
            "label": np.full(rows, -1, np.int32),
            "expression": np.full(rows, np.nan, np.float32),
            "row_mask": np.zeros(rows, np.float32),
        }
        for row, record in enumerate(records):
            if record is None:
                continue
            batch["promoter"][row] = record["promoter_sum"][:, self._columns]
            batch["promoter_span"][row] = record["promoter_span"]
            batch["minus"][row] = record["minus"]
            lengths = self._lengths(record)
            batch["pcre_length"][row, : len(lengths)] = lengths
            batch["score"][row, : len(lengths)] = record["score"][: len(lengths)]
            first = 0
            for contact, length in enumerate(lengths):
                n = -(-int(length) // self.resolution)
                batch["pcre"][row, contact, :n] = record["pcre_sum"][first : first + n, self._columns]
                first += n
            batch["label"][row] = record["label"]
            batch["expression"][row] = record["expression"]
            batch["row_mask"][row] = 1.0
        return batch

    def _lengths(self, record: Mapping[str, Any]) -> np.ndarray:
        """bp of the contacts that the model sees."""
        lengths, goal = np.asarray(record["pcre_length"]), self.objective
        if len(lengths) > goal.max_pcres and goal.more_pcres == "refuse":
            raise JaxepiError(
                f"Gene {record['key']} has {len(lengths)} contacts, more than config.task.max_pcres={goal.max_pcres}; "
                "raise it, or set config.task.more_pcres=best to keep the best ones."
            )
        lengths = lengths[: goal.max_pcres]
        if len(lengths) and lengths.max() > goal.region_width:
            raise JaxepiError(
                f"Gene {record['key']} has a contact of {lengths.max()} bp, longer than config.task.region_width="
                f"{goal.region_width}; raise it, or prepare the dataset without such contacts."
            )
        return lengths

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        """Collated batch to the inputs of `Chromoformer` and the targets; there is no augmentation."""
        del rng, train
        goal, full = self.objective, self.model_config.full_evaluation
        inputs: Batch = {"interaction_freq": frequencies(batch["score"])}
        for name in ("promoter_feats", "promoter_pad_masks", "pcre_feats", "pcre_pad_masks", "interaction_masks"):
            inputs[name] = {}
        first = (self.stored_width - goal.promoter_width) // 2
        rows = first // self.resolution
        promoter = batch["promoter"][:, rows : rows + goal.promoter_width // self.resolution]
        there = jnp.pad(batch["pcre_length"] > 0, [(0, 0), (1, 0)], constant_values=True)
        for size in self.model_config.bin_sizes:
            layout = Layout(size, self.resolution, goal.region_width)
            features, known = promoter_bins(
                promoter, batch["promoter_span"] - first, batch["minus"], goal.promoter_width, layout, goal.centre_tss
            )
            contacts, pcre_known = contact_bins(
                batch["pcre"], batch["pcre_length"], batch["minus"], layout, goal.orient_pcres
            )
            # only the centre row of a pad mask is read unless every bin is evaluated
            queries = known if full else known[:, layout.centre : layout.centre + 1]
            inputs["promoter_feats"][size] = features[:, None]
            inputs["promoter_pad_masks"][size] = ~(queries[:, :, None] & known[:, None])[:, None, None]
            inputs["pcre_feats"][size] = contacts
            inputs["pcre_pad_masks"][size] = ~(queries[:, None, :, None] & pcre_known[:, :, None])[:, :, None]
            inputs["interaction_masks"][size] = ~(there[:, :, None] & there[:, None])[:, None]
        return inputs, self._targets(batch)

    def _targets(self, batch: Batch) -> Batch:
        """`value` (B,), the class or log2(RPKM + 1), and `counts` (B,), whether it is known."""
        known = batch["label"] >= 0 if self._classes else jnp.isfinite(batch["expression"])
        value = batch["label"].astype(jnp.float32) if self._classes else jnp.log2(batch["expression"] + 1)
        counts = known & (batch["row_mask"] > 0)
        return {"value": jnp.where(counts, value, 0.0), "counts": counts}

    def accept(self, x: Any, **further: Any) -> Batch:
        """The inputs of `Chromoformer` for B genes; see there for names and shapes."""
        del further
        if not isinstance(x, Mapping):
            raise JaxepiError(
                "Chromoformer predicts genes: give records of a dataset, such as dataset.split('fold1'), or a mapping "
                f"with {', '.join(INPUTS)}."
            )
        check_inputs(x, self.model_config)
        return jax.tree.map(np.asarray, dict(x))

    def expand(self, accepted: Batch) -> Batch:
        return accepted

    def apply(self, model: nnx.Module, inputs: Batch) -> ChromoformerOutputs:
        return model(inputs)

    def values(self, outputs: ChromoformerOutputs) -> jax.Array:
        """One value a gene (B, 1, 1), see `gene_values`."""
        return gene_values(outputs, self.objective)[:, None, None]

    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """One vector a gene (B, 1, bin sizes * width): `head_input`, the promoters as their contacts regulate them."""
        return model(inputs, intermediates=True).intermediates["head_input"][:, None]

    def settled(self) -> dict[str, Any]:
        return dataclasses.asdict(dataclasses.replace(self.objective, marks=tuple(self.marks)))

    def loss(self, outputs: ChromoformerOutputs, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Cross-entropy of the two logits, or the squared error of log2(RPKM + 1)."""
        if self._classes:
            loss = losses.cross_entropy(outputs.values, targets["value"], targets["counts"])
            return loss, {"cross_entropy": loss}
        loss = losses.squared_error(outputs.values[:, 0], targets["value"], targets["counts"])
        return loss, {"squared_error": loss}

    def predictions(self, outputs: ChromoformerOutputs, targets: Batch) -> dict[str, jax.Array]:
        values = self.values(outputs)
        return {
            "prediction": values,
            "target": targets["value"][:, None, None],
            "mask": targets["counts"][:, None, None],
            "offset": jnp.zeros((values.shape[0], 1), jnp.int32),
        }

    def metrics(self, outputs: ChromoformerOutputs, targets: Batch) -> dict[str, Any]:
        seen = self.predictions(outputs, targets)
        values = (seen["prediction"], seen["target"], seen["mask"])
        if self._classes:
            each = losses.cross_entropies(outputs.values, targets["value"])[:, None, None]
            return standard_metrics(*values, region="gene") | {
                "gene/loss": MeanSums.from_values(each, seen["mask"], name="loss")
            }
        return {
            "gene/pearson": PearsonSums.from_values(*values),
            "gene/error": ErrorSums.from_values(*values),
            "gene/density": Density.from_values(*values, low=0.0, high=HIGHEST),
        }

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The standard summary; `loss_gene_flat` is the validation loss."""
        summary = summarize(metrics)
        if self._classes:
            return summary
        if self.objective.validation_loss == "all_pairs":
            return summary | {"loss_gene_flat": float(losses.all_pairs_error(metrics["gene/pearson"])[0])}
        return summary | {"loss_gene_flat": summary["mse_gene_flat"]}


def gene_values(outputs: ChromoformerOutputs, objective: ChromoformerObjective) -> jax.Array:
    """What is predicted of every gene (B,): the probability of high expression, or log2(RPKM + 1)."""
    if objective.target == "expression":
        return outputs.values[:, 0]
    softmax = objective.probability == "softmax"
    return jax.nn.softmax(outputs.values)[:, 1] if softmax else jax.nn.sigmoid(outputs.values[:, 1])


def frequencies(score: jax.Array) -> jax.Array:
    """Scores (B, S) to the bias (B, S + 1, S + 1): the promoter's row holds them behind its own 0, all else is 0."""
    contacts = score.shape[1]
    return jnp.pad(score[:, None], [(0, 0), (0, contacts), (1, 0)])


def choose_marks(names: list[str], chosen: Sequence[str]) -> tuple[list[str], list[int] | slice]:
    """Names and columns of the chosen marks; nothing chosen means all.

    Raises:
      JaxepiError: the dataset has no such mark.
    """
    for mark in chosen:
        if mark not in names:
            raise JaxepiError(
                f"config.task.marks names {mark!r}{did_you_mean(mark, names)}, but the dataset has {', '.join(names)}."
            )
    return (list(chosen), [names.index(mark) for mark in chosen]) if chosen else (names, slice(None))


def check_widths(model: ChromoformerConfig, goal: ChromoformerObjective, resolution: int, stored: int) -> None:
    """Raises JaxepiError unless bins, regions and the dataset's stretches of `resolution` bp fit each other."""
    promoter, region = goal.promoter_width, goal.region_width
    if not 0 < promoter <= min(stored, region) or promoter % (2 * resolution) or (stored - promoter) % (2 * resolution):
        raise JaxepiError(
            f"config.task.promoter_width is {promoter}, but must be a multiple of {2 * resolution} bp, at most the "
            f"{stored} bp of the dataset and at most config.task.region_width={region}."
        )
    for size in model.bin_sizes:
        if size % resolution:
            raise JaxepiError(
                f"config.model.bin_sizes has {size}, but must hold multiples of the dataset's resolution, "
                f"{resolution} bp."
            )
        if region % size:
            raise JaxepiError(
                f"config.task.region_width is {region}, but must be a multiple of each bin size, also of {size}."
            )
        if 2 * size > promoter:
            raise JaxepiError(
                f"config.model.bin_sizes has {size}, more than half of config.task.promoter_width={promoter}."
            )
