"""The contract between the generic code and a system: records, model and objective in one object.

The loop, the evaluator, the predictor and the verbs know only this.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.layers.pairs import reversed_triangle, triangle_bins
from jaxepi.sequence import reverse_complement_one_hot

Batch = dict[str, Any]

SAMPLE_POSITIONS = 300_000  # for Spearman, as the Melody paper samples

PLACES = {
    "base": "every base of the window, crop left out",
    "cpg": "every base of the window, of which only the letters of CpGs count",
    "bin": "bins of the window, crop left out",
    "site": "the middle of the window",
    "record": "the record as a whole, which has no window",
    "pair": "pairs of bins of the window, the upper triangle row by row",
}


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the P values of a prediction (B, P, K) lie.

    Attributes:
      at: one of `PLACES`.
      bin: bp of one bin; 1 where values lie at bases.
      crop: bp at either end of the window that have no value.
      diagonal: pairs only: bins between the two of the nearest pair that has a value.
      places: P where no window of sequence tells it, such as the bins of an embedding.
    """

    at: str
    bin: int = 1
    crop: int = 0
    diagonal: int = 0
    places: int = 1

    def __post_init__(self) -> None:
        if self.at not in PLACES or self.bin < 1 or self.crop < 0 or self.diagonal < 0 or self.places < 1:
            raise ValueError(
                f"{self} is no grid: `at` is one of {', '.join(PLACES)}, bin and places at least 1, the rest 0 or more"
            )

    def values(self, window: int | None) -> int:
        """P for a window of so many bp (None for records without one)."""
        if self.at in ("site", "record") or window is None:
            return 1 if window is not None else self.places
        count = (window - 2 * self.crop) // self.bin
        if self.at == "pair":
            count -= self.diagonal
            return count * (count + 1) // 2
        return count


@dataclasses.dataclass(frozen=True)
class Options:
    """What an evaluation keeps besides the sums.

    Attributes:
        region: what the predictions' mask selects, the middle of the names of sampled metrics.
        regions: of each track (K,), where they differ; (): all tracks are of `region`.
        label_threshold: a target above it is positive in the sampled AUC; None: targets have no classes.
        kendall: numbers of the tracks for which Kendall's tau-b is given.
        sample_positions: upper bound; with many tracks `SAMPLE_VALUES` bounds it further.
        windows: how many whole windows to keep for the browser view.
        seed: of the choice of positions and windows.
        unit: of predicted and measured values, for axes.
        system: whose words a report uses.
        flat_ranks: whether Spearman is also given over the sampled values of all tracks as one.
    """

    region: str = "cpg"
    regions: tuple[str, ...] = ()
    label_threshold: float | None = 0.5
    kendall: tuple[int, ...] = ()
    sample_positions: int = SAMPLE_POSITIONS
    windows: int = 4
    seed: int = 0
    unit: str = ""
    system: str = ""
    flat_ranks: bool = False


class Task(abc.ABC):
    """Joins records, model and objective of one system.

    Attributes:
      model_config: frozen dataclass with the sizes of the model.
      objective: frozen dataclass: how records become inputs and targets, and what is minimised.
      manifest: the dataset's manifest (or what a checkpoint kept of it: `window`, `tracks`, ...).
      tracks: names of the K outputs.
      chosen: the outputs of the dataset that were asked for by name; (): all.
      grid: where the P values of a prediction lie.
      window: bp of sequence that the model reads; None if it reads none.
      further: names of what `accept` takes beside its first argument.
      per_base: those of `further` that are floats (B, L) along the sequence, one a base, and may be left out; they have
        the same names among the inputs of `apply`. Whoever reads windows of a genome may fill them from a BigWig.
      sequence_alone: whether a window of sequence is all that the model needs.
      one_hot_input: name of the one-hot sequence (B, L, 4) among the inputs of `apply`.
      shift_pad: what such a row holds where a shifted window has no base; as an N, unless the original differs.
      strand_pair: of each track the number of the one on the other strand; None: each is its own.
      options: what an evaluation keeps besides the sums, and the region that names its metrics.
      monitor: the validation metric that keep-best and early stopping watch unless the config names another.
      trunks: parts of the model that are models of other systems: attribute -> system and the sizes asked for.
      parts: of several datasets in one run that go through heads of their own, the task of each, in their order; all
        are tasks of the same model. (): this task reads every dataset.
      idle: patterns of parameters, as `config.frozen` has them, that a batch of this task leaves as they are: no
        gradient reaches them, and the optimizer neither moves them nor ages what it remembers of them.
      counts_updates: whether a training batch also tells `prepare` how many updates of its epoch came before its own,
        as `UPDATE` (B,) int32.
      validates_as_trained: whether validation during training makes inputs and runs the model as training does, with
        augmentation, dropout and the statistics of the batch (parity); running statistics stay as they are.
    """

    model_config: Any
    objective: Any
    manifest: Mapping[str, Any]
    tracks: list[str]
    chosen: tuple[str, ...] = ()
    grid: Grid
    window: int | None = None
    further: ClassVar[tuple[str, ...]] = ()
    per_base: tuple[str, ...] = ()
    sequence_alone: bool = True
    one_hot_input: ClassVar[str] = "x"
    shift_pad: float = 0.25
    strand_pair: tuple[int, ...] | None = None
    options: Options = Options()
    monitor: str
    trunks: Mapping[str, tuple[str, Mapping[str, Any]]] = {}
    parts: tuple["Task", ...] = ()
    idle: tuple[str, ...] = ()
    counts_updates: bool = False
    validates_as_trained: bool = False

    @abc.abstractmethod
    def __init__(
        self,
        sizes: Mapping[str, Any],
        objective: Mapping[str, Any],
        manifest: Mapping[str, Any],
        tracks: Sequence[str | int] = (),
    ):
        """The sections `config.model` and `config.task`, a dataset's manifest, and the tracks to use (() = all).

        Raises:
          JaxepiError: an unknown field or value, or a dataset that does not fit.
        """

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
    def accept(self, x: Any, **further: Any) -> Batch:
        """What a user gives to `Predictor.predict`, checked: arrays with B rows, compact, on the host.

        Raises:
          JaxepiError: it is not what the model reads.
        """

    @abc.abstractmethod
    def expand(self, accepted: Batch) -> Batch:
        """What `accept` gives to the inputs of `apply`, on the device; traceable."""

    @abc.abstractmethod
    def apply(self, model: nnx.Module, inputs: Batch) -> Any:
        """Runs the model on what `prepare` or `expand` made."""

    @abc.abstractmethod
    def values(self, outputs: Any) -> jax.Array:
        """The prediction (B, P, K) float32, P as `grid` says: what metrics, files and every verb read."""

    @abc.abstractmethod
    def features(self, model: nnx.Module, inputs: Batch) -> jax.Array:
        """What the head of the predicted values reads (B, T, C): C channels at T places, 1 for one vector an input."""

    @abc.abstractmethod
    def loss(self, outputs: Any, targets: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The scalar to minimise and its named terms, all float32."""

    @abc.abstractmethod
    def metrics(self, outputs: Any, targets: Batch) -> dict[str, Any]:
        """Mergeable masked sums of one batch (see jaxepi.metrics.standard), on the device."""

    @abc.abstractmethod
    def summarize(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Merged sums to flat names with their reduction, and `per_track` as a mapping, on the host."""

    @abc.abstractmethod
    def predictions(self, outputs: Any, targets: Batch) -> dict[str, jax.Array]:
        """Values beside their targets: `prediction`, `target`, `mask` (B, S, K) and `offset` (B, S) in the window.

        S is P, or the places of the grid that can count.
        """

    def settled(self) -> dict[str, Any]:
        """The objective's fields with everything named that the dataset decided, for another dataset of the kind."""
        return dataclasses.asdict(self.objective)

    def mend_gradient(self, gradient: Any) -> Any:
        """The gradient of an update before it is clipped and used; traceable. Nothing is to be mended as a rule."""
        return gradient

    def mirrored(self, values: jax.Array) -> jax.Array:
        """Values (B, P, K) of the reverse complement of some windows, as values of these windows, and back.

        Places are reversed as the grid says, and tracks of the two strands change places.
        """
        if self.grid.at in ("base", "cpg", "bin"):
            values = values[:, ::-1]
        elif self.grid.at == "pair":
            bins = triangle_bins(values.shape[1], self.grid.diagonal)
            values = values[:, reversed_triangle(bins, self.grid.diagonal)]
        return values if self.strand_pair is None else values[..., np.array(self.strand_pair)]

    def viewed(self, inputs: Batch, reverse: jax.Array, shift: jax.Array) -> Batch:
        """Inputs whose sequence is reverse-complemented if `reverse`, after it was moved right by `shift` bp.

        What lies along the sequence (`per_base`) moves and turns with it, with 0 where nothing came in.
        """
        x = inputs[self.one_hot_input]
        place = jnp.arange(x.shape[1]) - shift
        there = (place >= 0) & (place < x.shape[1])
        x = jnp.where(there[None, :, None], jnp.roll(x, shift, axis=1), jnp.asarray(self.shift_pad, x.dtype))
        seen = {self.one_hot_input: jnp.where(reverse, reverse_complement_one_hot(x), x)}
        for name in self.per_base:
            if name in inputs:
                along = jnp.where(there[None], jnp.roll(inputs[name], shift, axis=1), 0)
                seen[name] = jnp.where(reverse, along[:, ::-1], along)
        return inputs | seen

    def first_convolution(self, model: nnx.Module) -> tuple[np.ndarray, np.ndarray] | None:
        """Kernel (width, 4, F) and bias (F,) of filters that read the one-hot DNA; None without such filters."""
        del model
        return None


UPDATE = "update"  # the entry of a batch that `Task.counts_updates` asks for
_PART = "part:"  # a batch has an entry of this name with the number of its part: static under jit, as its keys are


def part_of(task: Task, number: int) -> Task:
    """The task that reads dataset `number` of a run."""
    return task.parts[number] if task.parts else task


def collate(
    task: Task, records: Sequence[Mapping[str, Any] | None], number: int | None = None
) -> dict[str, np.ndarray]:
    """`Task.collate` of the part that reads the dataset of the records; the batch's structure tells which part it is.

    Args:
      task: one that may have parts; `split_part` takes the batch apart again.
      records: all of one dataset; a None is a padding row.
      number: of the dataset; None: the records tell, of which the first is no padding then.
    """
    if not task.parts:
        return task.collate(records)
    if number is None:
        number = int(next(record for record in records if record is not None)["dataset"])
    return task.parts[number].collate(records) | {f"{_PART}{number}": np.zeros(len(records), np.uint8)}


def split_part(task: Task, batch: Mapping[str, Any]) -> tuple[Task, Batch]:
    """The task of a batch that `collate` made, and the batch as that task knows it; traceable."""
    number = next((int(name.removeprefix(_PART)) for name in batch if name.startswith(_PART)), 0)
    return part_of(task, number), {name: rows for name, rows in batch.items() if not name.startswith(_PART)}


@dataclasses.dataclass(frozen=True)
class Views:
    """The ways of looking at a window over whose predictions a mean is taken.

    Attributes:
      reverse_complement: each shift forward and as its reverse complement, whose values are turned back.
      shifts: bp by which the sequence is moved to the right; the values are not moved back.
    """

    reverse_complement: bool = False
    shifts: tuple[int, ...] = (0,)

    def check(self, task: Task, source: str) -> None:
        """Raises JaxepiError unless the model from `source` can be asked for these views."""
        if not isinstance(self.reverse_complement, bool):
            raise JaxepiError(f"rc is {self.reverse_complement!r}, but must be True or False.")
        if not self.shifts or not all(isinstance(by, int) and not isinstance(by, bool) for by in self.shifts):
            raise JaxepiError(f"shifts is {self.shifts!r}, but one or more whole numbers of bp were expected.")
        if self == Views():
            return
        if task.window is None or not task.sequence_alone:
            what = "no sequence" if task.window is None else "more than sequence"
            raise JaxepiError(f"{source} reads {what}, so that rc and shifts have no meaning: leave them out.")
        if far := [by for by in self.shifts if abs(by) >= task.window]:
            raise JaxepiError(f"shifts has {far[0]} bp, but the window of {source} has only {task.window} bp.")


def mean_over(model: nnx.Module, task: Task, inputs: Batch, views: Views) -> jax.Array:
    """The mean over views of the values (B, P, K) of inputs; traceable, and one view is computed at a time."""
    if views == Views():
        return task.values(task.apply(model, inputs))
    turns = (False, True) if views.reverse_complement else (False,)
    pairs = [(reverse, shift) for shift in views.shifts for reverse in turns]
    reverses, shifts = (jnp.array(each) for each in zip(*pairs, strict=True))

    def one(view: tuple[jax.Array, jax.Array]) -> jax.Array:
        values = task.values(task.apply(model, task.viewed(inputs, *view)))
        return jnp.where(view[0], task.mirrored(values), values)

    def add(total: jax.Array, view: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + one(view), None

    made = jax.eval_shape(one, (reverses[0], shifts[0]))
    return jax.lax.scan(add, jnp.zeros(made.shape, made.dtype), (reverses, shifts))[0] / len(pairs)


def predicted(model: nnx.Module, task: Task, batch: Batch, views: Views = Views()) -> jax.Array:
    """Values (B, P, K) of a collated batch of records; traceable."""
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    return mean_over(model, task, inputs, views)


def featured(model: nnx.Module, task: Task, batch: Batch) -> jax.Array:
    """Features (B, T, C) of a collated batch of records; traceable."""
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    return task.features(model, inputs)


def choose_tracks(names: Sequence[str], chosen: Sequence[str | int]) -> tuple[list[str], list[int] | slice]:
    """The names and columns of the chosen tracks, given by name or number; nothing chosen means all.

    Raises:
      JaxepiError: no such track.
    """
    if not chosen:
        return list(names), slice(None)
    columns = []
    for track in chosen:
        number = int(track) if str(track).isdecimal() and track not in names else None
        if number is None and track not in names or number is not None and number >= len(names):
            raise JaxepiError(
                f"config.dataset.tracks names {track!r}{did_you_mean(str(track), names)}, but the dataset has the "
                f"{len(names)} tracks {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}."
            )
        columns.append(list(names).index(track) if number is None else number)
    return [names[column] for column in columns], columns
