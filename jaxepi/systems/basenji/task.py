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

from jaxepi.config import check_choices, from_section
from jaxepi.errors import JaxepiError
from jaxepi.metrics.groups import GROUP_BINS
from jaxepi.metrics.standard import AUC_BINS, ErrorSums, MeanSums, PearsonSums, standard_metrics, summarize
from jaxepi.sequence import NOTHING, N, one_hot, reverse_complement
from jaxepi.systems.basenji import losses as losses
from jaxepi.systems.basenji.model import Basenji, BasenjiConfig, BasenjiOutputs, with_units
from jaxepi.systems.basenji.shapes import Geometry
from jaxepi.task import Batch, Grid, Options, Task, choose_tracks
from jaxepi.windows import as_windows, hot, moved

FEW_TRACKS = 64  # with more, the histograms behind an AUC are coarser


@dataclasses.dataclass(frozen=True)
class BasenjiObjective:
    """How records become inputs and targets, and what is minimised."""

    # Number of the head that predicts the dataset. Of several datasets in one run, each has the head of its number.
    head: int = dataclasses.field(default=0, metadata={"least": 0})
    # poisson | mse | bce | mse_udot | poisson_kl | poisson_mn; the original takes any other word for poisson
    loss: str = "poisson"
    spec_weight: float = 1.0  # mse_udot, poisson_kl: weight of the part that looks across tracks
    total_weight: float = 1.0  # poisson_mn: weight of the totals of a window
    kl_epsilon: float = 1e-3  # poisson_kl: added to every value before shares are taken; the original's successor: 1e-7
    mn_epsilon: float = 1e-6  # poisson_mn: added to every value; the original's successor: 1e-7
    # Leave bins that the dataset marks as unmappable out of loss and metrics; the original never does.
    mask_unmappable: bool = False
    # bp of sequence at either end of the bins that the model reads; None: all that the records have there
    context: int | None = dataclasses.field(default=None, metadata={"least": 0})
    # bins of a training window, a random stretch of those of its record with the context around it; None: all
    train_bins: int | None = None
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
        check_choices(self, "config.task", loss=losses.LOSSES)

    @property
    def rules(self) -> losses.LossRules:
        """What is minimised."""
        names = [field.name for field in dataclasses.fields(losses.LossRules)]
        return losses.LossRules(**{name: getattr(self, name) for name in names})


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
        several = manifest.get("datasets", ()) if len(sizes.get("heads", ())) > 1 else ()
        if several:  # beside its parts, this task is that of the first dataset
            self.parts = self._each(sizes, objective, several, tracks)
            sizes, manifest = dataclasses.asdict(self.parts[0].model_config), several[0]
        self.manifest = manifest
        self.objective = from_section(
            BasenjiObjective, {**objective, **({"head": 0} if several else {})}, "config.task"
        )
        self.shift_pad = self.objective.shift_pad
        self.tracks, self._columns = choose_tracks(manifest["tracks"], tracks)
        self.chosen = tuple(self.tracks) if tracks else ()
        self.window = read_window(manifest, self.objective.context)
        self._cut = (int(manifest["window"]) - self.window) // 2
        self.model_config = self._sizes(sizes)
        others = (number for number in range(len(self.model_config.heads)) if number != self.objective.head)
        self.idle = tuple(f"heads.{number}.*" for number in others)
        self.options = dataclasses.replace(type(self).options, label_threshold=0.5 if self._has_classes else None)
        self.strand_pair = self._strand_pair()
        self.grid = self._grid(self.model_config.geometry(self.objective.head))
        self._check_stretch()

    @classmethod
    def _each(
        cls,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifests: Sequence[Mapping[str, Any]],
        tracks: Sequence[str | int],
    ) -> tuple["BasenjiTask", ...]:
        """The task of each dataset, which has the head of its number; all have the same model.

        Raises:
          JaxepiError: as many heads as datasets, windows of one length and all tracks are needed.
        """
        windows = [read_window(manifest, objective.get("context")) for manifest in manifests]
        config = from_section(BasenjiConfig, sizes, "config.model", window=windows[0])
        if len(config.heads) != len(manifests):
            raise JaxepiError(
                f"config.dataset.paths names {len(manifests)} datasets, but config.model.heads {len(config.heads)} "
                "heads: give each dataset a head, or all of them a single one."
            )
        if tracks:
            raise JaxepiError(
                "config.dataset.tracks chooses tracks of one dataset, but config.dataset.paths names several: leave it "
                "out, each head predicts the tracks of its dataset."
            )
        counts = [len(manifest["tracks"]) for manifest in manifests]
        whole = dataclasses.asdict(dataclasses.replace(config, heads=with_units(config.heads, counts)))
        parts = []
        for number, manifest in enumerate(manifests):
            if windows[number] != config.window:
                raise JaxepiError(
                    f"The windows of the datasets of this run have {config.window} and {windows[number]} bp: "
                    "prepare them alike, or set config.task.context."
                )
            parts.append(cls(whole, {**objective, "head": number, "strand_pair": ()}, manifest))
        return tuple(parts)

    @property
    def _has_classes(self) -> bool:
        """Whether targets are labels."""
        return self.objective.loss == "bce"

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
        crop, bins = int(self.manifest.get("crop", found.crop)) - self._cut, self.manifest.get("bins")
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

    def _check_stretch(self) -> None:
        """Raises JaxepiError unless the network makes as many bins of a training window as it is to have."""
        wanted, grid = self.objective.train_bins, self.grid
        if wanted is None:
            return
        places = grid.values(self.window)
        if grid.at != "bin" or wanted > places:
            raise JaxepiError(
                f"config.task.train_bins is {wanted}, but records have {places} values, one a {grid.at}: leave it out, "
                "or take no more bins than there are."
            )
        window = wanted * grid.bin + 2 * grid.crop
        made = dataclasses.replace(self.model_config, window=window).geometry(self.objective.head).shape[0]
        if made != wanted:
            raise JaxepiError(
                f"config.task.train_bins is {wanted}, but of a window of {window} bp the network makes {made} bins: "
                "crop as many bins at its end as config.task.context has, and take a multiple of its pools."
            )

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
        pairs = tuple(kept.index(told[column]) for column in kept)
        return None if pairs == tuple(range(len(pairs))) else pairs

    def build_model(self, rngs: nnx.Rngs) -> Basenji:
        return Basenji(self.model_config, rngs=rngs)

    def collate(self, records: Sequence[Mapping[str, Any] | None]) -> dict[str, np.ndarray]:
        """Records to sequence (B, L) uint8, target (B, T, K) float16, row_mask (B,); perhaps unmappable (B, T)."""
        shape = (len(records), self.grid.values(self.window), len(self.tracks))
        batch = {
            "sequence": np.full((len(records), self.window), N, np.uint8),
            "target": np.zeros(shape, np.float16),
            "row_mask": np.array([record is not None for record in records], np.float32),
        }
        masked = self.objective.mask_unmappable
        if masked:
            batch["unmappable"] = np.zeros(shape[:2], np.uint8)
        for row, record in enumerate(records):
            if record is None:
                continue
            batch["sequence"][row] = record["sequence"][self._cut : self._cut + self.window]
            batch["target"][row] = record["target"][:, self._columns]
            if masked:
                if "unmappable" not in record:
                    raise JaxepiError(
                        f"config.task.mask_unmappable is set, but record {record['key']} does not tell which of its "
                        "bins are unmappable: prepare the dataset with them, or leave it out."
                    )
                batch["unmappable"][row] = record["unmappable"]
        return batch

    def prepare(self, batch: Batch, rng: jax.Array, train: bool) -> tuple[Batch, Batch]:
        codes, target = batch["sequence"], batch["target"].astype(jnp.float32)
        goal = self.objective
        keep = jnp.broadcast_to(batch["row_mask"][:, None] > 0, target.shape[:2])
        if goal.mask_unmappable:
            keep = keep & (batch["unmappable"] == 0)
        if train and goal.train_bins:
            codes, target, keep = self._stretches(jax.random.fold_in(rng, 4), codes, target, keep)
        if train and goal.reverse_complement:
            flip = self._draw(jax.random.fold_in(rng, 1), len(codes), lambda key, n: jax.random.bernoulli(key, 0.5, n))
            codes = jnp.where(flip[:, None], reverse_complement(codes), codes)
            target = jnp.where(flip[:, None, None], self.mirrored(target), target)
            keep = jnp.where(flip[:, None], keep[:, ::-1], keep)
        if train and goal.shift:
            by = self._draw(
                jax.random.fold_in(rng, 2), len(codes),
                lambda key, n: jax.random.randint(key, n, -goal.shift, goal.shift + 1),
            )  # fmt: skip
            codes = moved(codes, by, goal.shift, NOTHING)
        x = one_hot(codes, n_value=0.0)
        if train and goal.shift and goal.shift_pad:
            x = jnp.where((codes == NOTHING)[..., None], goal.shift_pad, x)
        inputs = {"x": x} | ({"rng": jax.random.fold_in(rng, 3)} if train else {})
        return inputs, {"target": target, "keep": keep}

    def _stretches(
        self, key: jax.Array, codes: jax.Array, target: jax.Array, keep: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A random stretch of bins of each row with the context around it."""
        bins, width = self.objective.train_bins or 0, self.grid.bin
        first = self._draw(
            key, len(codes), lambda key, rows: jax.random.randint(key, rows, 0, target.shape[1] - bins + 1)
        )
        cut = jax.vmap(jax.lax.dynamic_slice_in_dim, (0, 0, None))
        return (
            cut(codes, width * first, bins * width + 2 * self.grid.crop),
            cut(target, first, bins),
            cut(keep, first, bins),
        )

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
        head = self.objective.head
        return Predicted(model(inputs["x"], head=head, rng=inputs.get("rng")), model.penalty(head))

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
        """The loss of the bins that count, and the penalty of the weights that the head makes use of."""
        fit = losses.reduced(self.values(outputs), targets["target"], targets["keep"], self.objective.rules)
        return fit + outputs.penalty, {"fit": fit, "penalty": outputs.penalty}

    def predictions(self, outputs: Predicted, targets: Batch) -> dict[str, jax.Array]:
        values = self.values(outputs)
        mask = jnp.broadcast_to(targets["keep"][..., None], values.shape)
        offset = self.grid.crop + self.grid.bin * jnp.arange(values.shape[1])
        offset = jnp.broadcast_to(offset[None], values.shape[:2])
        return {"prediction": values, "target": targets["target"], "mask": mask, "offset": offset}

    def metrics(self, outputs: Predicted, targets: Batch) -> dict[str, Any]:
        seen, rules = self.predictions(outputs, targets), self.objective.rules
        values = (seen["prediction"], seen["target"], seen["mask"])
        found: dict[str, Any] = {"bin/pearson": PearsonSums.from_values(*values)}
        if self._has_classes:
            bins = AUC_BINS if len(self.tracks) <= FEW_TRACKS else GROUP_BINS
            found = standard_metrics(*values, region="bin", bins=bins)
        found["bin/error"] = ErrorSums.from_values(*values)
        loss = losses.unreduced(self.values(outputs), targets["target"], targets["keep"], rules)
        if rules.loss == "poisson_mn":
            loss = loss.mean(axis=-1)
        found["loss/fit"] = MeanSums.from_values(loss[..., None], losses.places(targets["keep"], rules)[..., None])
        found["loss/penalty"] = MeanSums.from_values(outputs.penalty[None])
        return found

    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The usual values; `loss_total`, what training minimises; and the sum by which the original keeps its best."""
        rest = {name: metric for name, metric in metrics.items() if not name.startswith("loss/")}
        found = summarize(rest)
        total = sum(float(metrics[f"loss/{part}"].to_host().finalize()["mean"][0]) for part in ("fit", "penalty"))
        both = found["pearson_bin_per_track_mean"] + found["r2_bin_per_track_mean"] / 4
        return found | {"loss_total": total, "pearson_plus_quarter_r2_bin_per_track_mean": both}


def read_window(manifest: Mapping[str, Any], context: int | None) -> int:
    """bp of sequence that are read of a record: the bins and the context at either end.

    Raises:
      JaxepiError: the records have less context.
    """
    window, crop = int(manifest["window"]), int(manifest.get("crop", 0))
    if context is not None and context > crop:
        raise JaxepiError(f"config.task.context is {context} bp, but records have {crop} bp at either end of the bins.")
    return window if context is None else window - 2 * (crop - context)
