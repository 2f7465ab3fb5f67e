"""DeepCpG as a task: a record is a CpG site, with DNA window, neighbours per cell, and labels of the observed cells.

Records are sparse (see docs/data_format.md); labels become (B, H) for the H outputs that are trained, and everything
that may be done in more than one way happens here, on the device: missing neighbours, rounding, masking, weights.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.config import check_choices, from_section
from jaxepi.errors import JaxepiError
from jaxepi.metrics.groups import Groups
from jaxepi.metrics.standard import standard_metrics, summarize
from jaxepi.sequence import N, one_hot
from jaxepi.systems.deepcpg import losses as losses
from jaxepi.systems.deepcpg.metrics import LossSums
from jaxepi.systems.deepcpg.model import (
    CLASSES,
    DeepCpG,
    DeepCpGConfig,
    DeepCpGOutputs,
    head_units,
    unit_names,
    unit_slices,
)
from jaxepi.systems.deepcpg.networks import first_filters
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot

NO_STATE, NO_DISTANCE = 255, 65535  # codes of a missing neighbour in a record (NaN in a float16 state)
_RANKED = ("mean", "var", "entropy")  # statistics with Kendall's tau-b, as in the original's evaluation


@dataclasses.dataclass(frozen=True)
class DeepCpGObjective:
    """How records become inputs and labels, and what is minimised. Defaults are the correct choice for new training."""

    outputs: tuple[str, ...] = (r"cpg/.*",)  # patterns found anywhere in the names of the outputs to train
    replicates: tuple[str, ...] = ()  # patterns of the cells whose neighbours are read; () = all
    # State of a missing neighbour. "half": 0.5. "truncate": the original's int8 arrays make 0 of it in binary profiles.
    # "sample": version 1.0.2 draws 0 or 1 with the cell's share of ones among the batch's entries.
    missing_state: str = "half"
    distance_scale: int = 25_000  # bp; larger distances and missing neighbours count as this
    masking: str = "per_output"  # per_output | pooled | keras: see jaxepi.systems.deepcpg.losses.LossRules
    labels: str = "fraction"  # fraction: as measured; rounded: to 0 or 1, half to even, as the original
    # The original balances the classes of every output by weights that add up to 1; evaluation weighs every label 1.
    balance_classes: bool = True
    output_weights: tuple[str, ...] = ()  # rules "pattern=weight"; the last one that matches an output counts
    entropy_as_probability: bool = False  # the original trains the entropy head by cross-entropy

    def __post_init__(self) -> None:
        check_choices(
            self,
            "config.task",
            missing_state=("half", "truncate", "sample"),
            masking=losses.MASKING,
            labels=("fraction", "rounded"),
        )


class Predicted(NamedTuple):
    """What the loss needs of the model: its outputs, and the penalty of its weights."""

    outputs: DeepCpGOutputs
    penalty: jax.Array  # scalar


class DeepCpGTask(Task):
    """See the module; `config.model` and `config.task` are sections with the fields of the two dataclasses."""

    grid = Grid("site")
    one_hot_input = "dna"
    shift_pad = 0.0
    further = ("state", "distance")

    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        self.manifest = manifest
        self.objective = from_section(DeepCpGObjective, objective, "config.task")
        names, _ = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(names) if tracks else ()
        self.outputs = model_outputs(sizes, names) or choose_outputs(names, self.objective.outputs)
        self.model_config = self._sizes(sizes)
        self.window = self.model_config.window if self.model_config.parts.dna else None
        self.sequence_alone = self.model_config.parts.cpg is None
        self._units = unit_slices(self.outputs)
        self.tracks = [t for output in self.outputs for t in unit_names(output)]
        self._labels = {output: column for column, output in enumerate(self.outputs)}
        self._statistics = [
            (i, self._labels[name]) for i, name in enumerate(manifest["statistics"]) if name in self._labels
        ]
        cells = [self._labels.get(f"cpg/{cell}", -1) for cell in manifest["cells"]]
        self._column_of_cell = np.array(cells, np.int64)
        self._replicates = self._choose_replicates()
        self.is_cell = np.array([track.startswith("cpg/") for track in self.tracks])
        self.annotations = Groups("annotation", tuple(manifest.get("annotations", ())))
        self.options = self._evaluation()
        self.rules = self._rules()
        self.monitor = "auc_cpg_per_track_mean" if self.is_cell.any() else "loss_total"

    def _sizes(self, section: Mapping[str, Any]) -> DeepCpGConfig:
        """The model's config; window and neighbours are the dataset's unless the config asks for fewer."""
        fitted: dict[str, Any] = {"outputs": self.outputs}
        for name, unit in (("window", "bp"), ("neighbours", "neighbours")):
            held, asked = int(self.manifest[name]), section.get(name)
            if asked is not None and held and (asked > held or (asked - held) % 2):
                raise JaxepiError(
                    f"config.model.{name} is {asked}, but the dataset has {held} {unit}, and as many must be left out "
                    "on both sides."
                )
            fitted[name] = min(asked or held, held) if held else (asked or getattr(DeepCpGConfig, name))
        config = from_section(DeepCpGConfig, section, "config.model", **fitted)
        parts = config.parts
        if parts.dna and not self.manifest["window"]:
            raise JaxepiError(f"{config.network} needs sequence, but the dataset was prepared without --fasta.")
        if parts.cpg and not self.manifest["neighbours"]:
            raise JaxepiError(f"{config.network} needs neighbours, but the dataset was prepared without --cpg-wlen.")
        scale, cap = self.objective.distance_scale, int(self.manifest["max_distance"])
        if parts.cpg and scale > cap:
            raise JaxepiError(f"config.task.distance_scale is {scale}, but the dataset keeps distances up to {cap} bp.")
        return config

    def _choose_replicates(self) -> np.ndarray:
        cells, patterns = self.manifest["cells"], self.objective.replicates
        chosen = [i for i, cell in enumerate(cells) if not patterns or any(re.search(p, cell) for p in patterns)]
        if not chosen:
            raise JaxepiError(f"config.task.replicates {patterns} finds none of the {len(cells)} cells {cells[:5]}.")
        return np.array(chosen)

    def _evaluation(self) -> Options:
        """Cells and statistics are regions of their own; the report shows cells, where there are any."""
        regions = tuple("cpg" if is_cell else "statistics" for is_cell in self.is_cell)
        ranked = tuple(k for k, track in enumerate(self.tracks) if track.split("/")[-1] in _RANKED)
        return Options(
            region="cpg" if "cpg" in regions else regions[0], regions=regions, kendall=ranked, system="deepcpg"
        )

    def _rules(self) -> losses.LossRules:
        counts = self.manifest["class_counts"] if self.objective.balance_classes else {}
        return losses.LossRules(
            outputs=self.outputs,
            masking=self.objective.masking,
            entropy_as_probability=self.objective.entropy_as_probability,
            class_weights={o: losses.class_weights(counts[o]) for o in self.outputs if o in counts},
            output_weights=losses.output_weights(self.outputs, self.objective.output_weights),
        )

    def build_model(self, rngs: nnx.Rngs) -> DeepCpG:
        return DeepCpG(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to label (B, H) with NaN where missing, row_mask (B,), and what the network reads:
        sequence (B, L) uint8, state (B, N, W) uint8 or float16, distance (B, N, W) uint16; annotation (B, A)."""
        rows, parts = len(records), self.model_config.parts
        present = [(row, record) for row, record in enumerate(records) if record is not None]
        batch = {
            "label": np.full((rows, len(self.outputs)), np.nan, np.float32),
            "row_mask": np.zeros(rows, np.float32),
        }
        if parts.dna:
            window = self.model_config.window
            batch["sequence"] = np.full((rows, window), N, np.uint8)
            cut = middle(int(self.manifest["window"]), window)
            for row, record in present:
                batch["sequence"][row] = record["sequence"][cut]
        if parts.cpg:
            self._collate_neighbours(batch, rows, present)
        if self.annotations.names:
            batch["annotation"] = np.zeros((rows, len(self.annotations.names)), np.uint8)
            for row, record in present:
                batch["annotation"][row] = record["annotation"]
        for row, record in present:
            batch["row_mask"][row] = 1.0
            columns = self._column_of_cell[record["cell"]]
            used = columns >= 0
            batch["label"][row, columns[used]] = record["value"][used]
            for i, column in self._statistics:
                batch["label"][row, column] = record["statistics"][i]
        return batch

    def _collate_neighbours(
        self, batch: dict[str, np.ndarray], rows: int, present: Sequence[tuple[int, Mapping[str, Any]]]
    ) -> None:
        # all columns that the dataset has: version 1.0.2 draws missing states before it cuts
        shape = (rows, len(self._replicates), int(self.manifest["neighbours"]))
        dtype = np.float16 if not all(self.manifest["binary_cells"]) else np.uint8
        batch["state"] = np.full(shape, NO_STATE if dtype == np.uint8 else np.nan, dtype)
        batch["distance"] = np.full(shape, NO_DISTANCE, np.uint16)
        for row, record in present:
            batch["state"][row] = record["state"][self._replicates]
            batch["distance"][row] = record["distance"][self._replicates]

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        inputs: dict[str, Any] = {}
        if "sequence" in batch:
            inputs["dna"] = one_hot(batch["sequence"], n_value=0.0)
        if "state" in batch:
            inputs["state"], inputs["distance"] = self.neighbours(batch["state"], batch["distance"], rng)
        sizes = self.model_config
        if train and max(sizes.dna_dropout, sizes.cpg_dropout, sizes.joint_dropout) > 0:
            inputs["rng"] = jax.random.fold_in(rng, 1)
        mask = ~jnp.isnan(batch["label"]) & (batch["row_mask"][:, None] > 0)
        label = jnp.where(mask, batch["label"], 0.0)
        if self.objective.labels == "rounded":
            rounded = np.array([output.startswith("cpg/") for output in self.outputs])
            label = jnp.where(rounded[None], jnp.round(label), label)
        targets = {"label": label, "mask": mask, "row_mask": batch["row_mask"]}
        return inputs, targets | ({"annotation": batch["annotation"]} if "annotation" in batch else {})

    def neighbours(self, state: jax.Array, distance: jax.Array, rng: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Codes (B, N, W') of a dataset to the model's state and distance (B, N, W), float32."""
        missing = jnp.isnan(state) if jnp.issubdtype(state.dtype, jnp.floating) else state == NO_STATE
        state = state.astype(jnp.float32)
        if self.objective.missing_state == "sample":
            ones = jnp.where(missing, 0.0, state == 1.0).mean(axis=(0, 2), keepdims=True)
            filler: Any = (jax.random.uniform(rng, state.shape) < ones).astype(jnp.float32)
        elif self.objective.missing_state == "truncate":
            binary = np.array(self.manifest["binary_cells"])[self._replicates]
            filler = jnp.asarray(np.where(binary, 0.0, 0.5)[None, :, None], jnp.float32)
        else:
            filler = 0.5
        scale = self.objective.distance_scale
        near = jnp.minimum(distance.astype(jnp.float32), scale) / scale
        cut = middle(state.shape[2], self.model_config.neighbours)
        return jnp.where(missing, filler, state)[:, :, cut], near[:, :, cut]

    def accept(self, x: Any = None, *, state: Any = None, distance: Any = None) -> Batch:
        """Windows of sequence around B sites, and what the cells of the model show at the sites next to them.

        Args:
          x: windows for networks with DNA, see `jaxepi.windows.as_windows`.
          state: (B, cells, neighbours) methylation in [0, 1] for networks with neighbours; NaN where there is none.
          distance: (B, cells, neighbours) bp to each neighbour; NaN where there is none.
        """
        sizes, accepted = self.model_config, {}
        if sizes.parts.dna:
            if x is None:
                raise JaxepiError(f"{sizes.network} reads DNA: give windows of {sizes.window} bp.")
            accepted["sequence"] = as_windows(x, sizes.window)
        elif x is not None:
            raise JaxepiError(
                f"{sizes.network} needs the neighbouring CpG sites and reads no DNA: give state and distance only."
            )
        if not sizes.parts.cpg:
            if state is not None or distance is not None:
                raise JaxepiError(f"{sizes.network} reads no neighbouring sites: leave out state and distance.")
            return accepted
        if state is None or distance is None:
            raise JaxepiError(
                f"{sizes.network} needs the neighbouring CpG sites besides the sequence: give state and distance "
                f"(B, cells, {sizes.neighbours}), or predict the records of a dataset."
            )
        state, distance = np.asarray(state, np.float32), np.asarray(distance, np.float32)
        rows = len(accepted["sequence"]) if accepted else len(state)
        expected = (rows, *state.shape[1:2], sizes.neighbours)
        for name, array in (("state", state), ("distance", distance)):
            if array.shape != expected:
                raise JaxepiError(f"{name} has the shape {array.shape}, but {expected} was expected.")
        if ((state < 0) | (state > 1)).any() or (distance < 0).any():
            raise JaxepiError("state must lie in [0, 1] and distance in bp must not be negative; NaN means missing.")
        missing = np.isnan(state) | np.isnan(distance)
        return accepted | {
            "state": np.where(missing, np.nan, state), "distance": np.where(missing, NO_DISTANCE, distance)
        }  # fmt: skip

    def expand(self, accepted: Batch) -> Batch:
        inputs: Batch = {}
        if "sequence" in accepted:
            inputs["dna"] = hot(accepted["sequence"], n_value=0.0)
        if "state" in accepted:
            neighbours = self.neighbours(accepted["state"], accepted["distance"], jax.random.key(0))
            inputs["state"], inputs["distance"] = neighbours
        return inputs

    def apply(self, model: nnx.Module, inputs: Batch) -> Predicted:
        arrays = [inputs[name] for name in ("dna", "state", "distance") if name in inputs]
        return Predicted(model(*arrays, rng=inputs.get("rng")), model.penalty())

    def loss(self, outputs: Predicted, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Losses of the outputs by their weights, and the penalty."""
        per_output = losses.reduce_losses(*self._loss_sums(outputs, targets, self.rules), self.objective.masking)
        fit = (per_output * self.rules.weights()).sum()
        return fit + outputs.penalty, {"fit": fit, "penalty": outputs.penalty}

    def _loss_sums(self, outputs: Predicted, targets: Batch, rules: losses.LossRules) -> tuple[jax.Array, jax.Array]:
        return losses.loss_sums(outputs.outputs, targets["label"], targets["mask"], targets["row_mask"], rules)

    def metrics(self, outputs: Predicted, targets: Batch) -> dict[str, Any]:
        seen = self.predictions(outputs, targets)
        found: dict[str, Any] = {}
        for region, chosen in (("cpg", self.is_cell), ("statistics", ~self.is_cell)):
            if chosen.any():
                mask = seen["mask"] & chosen[None, None]
                found |= standard_metrics(seen["prediction"], seen["target"], mask, region=region)
        if "annotation" in targets and self.is_cell.any():
            mask = seen["mask"] & self.is_cell[None, None]
            found |= self.annotations.metrics(seen["prediction"], seen["target"], mask, targets["annotation"])
        sums, counts = self._loss_sums(outputs, targets, dataclasses.replace(self.rules, class_weights={}))
        of_track = np.array([self._labels[output] for output in self.outputs for _ in range(head_units(output))])
        found["outputs/loss"] = LossSums.from_sums(sums[of_track], counts[of_track], outputs.penalty)
        return found

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        first = [self._units[output].start for output in self.outputs]
        total = metrics["outputs/loss"].total(first, self.rules.weights(), self.objective.masking)
        rest, groups = self.annotations.split(metrics)
        return summarize(rest) | {"loss_total": total, "groups": groups}

    def predictions(self, outputs: Predicted, targets: Batch) -> dict[str, jax.Array]:
        """Every output at the site (S = 1); the three variance classes are three tracks, one class against the rest."""
        labels, masks = [], []
        for column, output in enumerate(self.outputs):
            units = head_units(output)
            label, mask = targets["label"][:, column], targets["mask"][:, column]
            labels.append(label[:, None] if units == 1 else label[:, None] == jnp.arange(CLASSES)[None])
            masks.append(jnp.broadcast_to(mask[:, None], (mask.shape[0], units)))
        target, mask = (jnp.concatenate(x, axis=1)[:, None] for x in (labels, masks))
        return {
            "prediction": self.values(outputs),
            "target": target.astype(jnp.float32),
            "mask": mask,
            "offset": jnp.zeros(mask.shape[:2], jnp.int32),
        }

    def values(self, outputs: Predicted) -> jax.Array:
        """Every output at the site (B, 1, K)."""
        heads = outputs.outputs.heads
        each = [heads[name].reshape(-1, head_units(name)) for name in self.outputs]
        return jnp.concatenate(each, axis=1)[:, None].astype(jnp.float32)

    def features(self, model: DeepCpG, inputs: Batch) -> jax.Array:
        """One vector a site (B, 1, F), see `DeepCpGOutputs.features`."""
        return self.apply(model, inputs).outputs.features[:, None]

    def first_convolution(self, model: DeepCpG) -> tuple[np.ndarray, np.ndarray] | None:
        """See `first_filters`, which folds a normalisation in."""
        return None if model.dna is None else jax.device_get(first_filters(model.dna))


def model_outputs(sizes: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The outputs of a model that exists, in the order of its heads; () if the section is that of a new one.

    Raises:
      JaxepiError: the dataset lacks one of them.
    """
    outputs = tuple(sizes.get("outputs", ()))
    for name in outputs:
        if name not in names:
            raise JaxepiError(f"The model predicts {name!r}, but the dataset has {', '.join(names[:8])}.")
    return outputs


def choose_outputs(names: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """The outputs in which any pattern is found, sorted.

    Raises:
      JaxepiError: none, or one that no head can learn.
    """
    chosen = tuple(sorted(name for name in names if any(re.search(pattern, name) for pattern in patterns)))
    if not chosen:
        raise JaxepiError(
            f"config.task.outputs {tuple(patterns)} finds none of the dataset's outputs {', '.join(names[:8])}"
            f"{' ...' if len(names) > 8 else ''}."
        )
    if counts := [name for name in chosen if name.split("/")[-1] == "cov"]:
        raise JaxepiError(
            f"config.task.outputs chose {counts[0]}, a count of cells, which no head of DeepCpG predicts."
        )
    return chosen


def middle(held: int, wanted: int) -> slice:
    """The middle `wanted` of `held` entries."""
    start = (held - wanted) // 2
    return slice(start, start + wanted)
