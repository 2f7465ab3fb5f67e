"""A model ready to predict: from a run of ours or a released file, in three lines; the same for every system.

predictor = jaxepi.load("runs/melody_mt")
methylation = predictor.predict(["ACGT..."])  # (1, P, K), P as predictor.grid says
dict(zip(predictor.tracks, methylation[0].T))
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.fasta import Genome
from jaxepi.parallel.placed import PlacedModel
from jaxepi.pretrained.sources import Source, path_of
from jaxepi.regions import PerBase, RegionValues, as_interval, positions_of, require_inside, window_starts
from jaxepi.registry import get_system, task_of
from jaxepi.released import load_released
from jaxepi.system import System
from jaxepi.task import Grid, Task, Views, featured, mean_over, part_of, predicted
from jaxepi.windows import centred

OPTIONS = ("batch_size", "pad", "progress", "rc", "shifts")  # of `predict`, and but for the last two of `features`
PATIENCE = 2.0  # seconds before a progress line appears
DTYPES = {"float32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}  # as given -> as models call it

Record = Mapping[str, Any]
# (model, task, collated batch) -> any tree of arrays with B rows; traceable
Read = Callable[[nnx.Module, Task, dict[str, jax.Array]], Any]


class Records(Protocol):
    """Records with the manifest that describes them, such as a split of a dataset."""

    manifest: Mapping[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Record: ...


class Predictor(PlacedModel):
    """Jitted, batched prediction.

    Attributes beyond those of `PlacedModel`:
      system: which one the model is of.
      task: what makes inputs of what is given, and a prediction of outputs.
      tracks: names of the K outputs.
      config: of the run that the model comes from, None for a released file.
    """

    def __init__(
        self,
        model: nnx.Module,
        system: System,
        task: Task,
        *,
        source: str,
        tracks: Sequence[str] | None = None,
        config: Any = None,
        precision: str | None = None,
        device: Any = None,
    ):
        """Args beyond the attributes: `precision` and `device` as in `load`.

        Raises:
          JaxepiError: the task is for a model of other sizes, another number of tracks is named, or there is no such
            device.
        """
        super().__init__(model, source=source, precision=precision, device=device)
        self.system, self.task, self.config = system, task, config
        self._check(task)
        self.tracks = list(task.tracks if tracks is None else [tracks] if isinstance(tracks, str) else tracks)
        if len(self.tracks) != len(task.tracks):
            raise JaxepiError(f"{source} predicts {len(task.tracks)} tracks, but {len(self.tracks)} names were given.")
        if not all(isinstance(name, str) for name in self.tracks):
            raise JaxepiError(f"The names of tracks are {_short(self.tracks)}, but texts were expected.")
        self._programs: dict[Any, Callable[..., Any]] = {}

        @functools.cache
        def values_over(views: Views) -> Callable[..., jax.Array]:
            return lambda model, accepted: mean_over(model, task, task.expand(accepted), views).astype(jnp.float32)

        def features(model: nnx.Module, accepted: dict[str, Any]) -> jax.Array:
            return task.features(model, task.expand(accepted)).astype(jnp.float32)

        def at(model: nnx.Module, accepted: dict[str, Any], offsets: jax.Array) -> jax.Array:
            return jnp.take_along_axis(values_over(Views())(model, accepted), offsets[:, :, None], axis=1)

        self._value_function, self._feature_function = values_over, features
        self._at = self.compiled(at)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={_short(value)}" for name, value in dataclasses.asdict(self.model.config).items())
        window = "no sequence" if self.window is None else f"{self.window} bp"
        return (
            f"Predictor of {self.system.name} from {self.source}\n  sizes: {sizes}\n"
            f"  tracks: {_short(self.tracks)}\n  reads: {window}\n  grid: {self.grid}"
        )

    @property
    def grid(self) -> Grid:
        """Where the P values of a prediction lie."""
        return self.task.grid

    @property
    def window(self) -> int | None:
        """bp of sequence that the model takes; None if it reads none."""
        return self.task.window

    def predict(
        self, x: Any = None, batch_size: int = 32, pad: str | None = None, progress: bool | None = None,
        rc: bool = False, shifts: Sequence[int] = (0,), **further: Any,
    ) -> np.ndarray:  # fmt: skip
        """Predictions (B, P, K) float32.

        Args:
          x: what the model reads. Windows of exactly `window` bp: one string, strings (also bytes, `Bio.Seq`, pyfaidx
            slices), base codes (L,) or (B, L), or one-hot (L, 4) or (B, L, 4). Records of a dataset, such as
            `open_dataset(path).split("test")`. Models without sequence: see `Task.accept` of their system.
          batch_size: rows that go through the model at once.
          pad: "N" for sequences of any length: the centre of longer ones is taken, N put around shorter ones.
          progress: show a progress line; None: on a terminal, for work of more than two seconds.
          rc: take the mean with the prediction of the reverse complement, its places and strands turned back.
          shifts: bp to move each window to the right by, of which the mean is taken; values are not moved back.
          **further: more inputs, by the names in `task.further`.

        Raises:
          JaxepiError: it is not what the model reads.
        """
        views = Views(rc, tuple(shifts) if isinstance(shifts, Iterable) else (shifts,))
        views.check(self.task, self.source)
        return self._each(self._value_function(views), _read_over(views), x, batch_size, pad, progress, further)

    def features(
        self, x: Any = None, batch_size: int = 32, pad: str | None = None, progress: bool | None = None, **further: Any
    ) -> np.ndarray:
        """What the head of the predicted values reads (B, T, C) float32: C channels at T places, see `Task.features`.

        Arguments and errors are those of `predict`.
        """
        return self._each(self._feature_function, featured, x, batch_size, pad, progress, further)

    def _each(
        self,
        function: Callable[[nnx.Module, dict[str, Any]], jax.Array],
        read: Read,
        x: Any,
        batch_size: Any,
        pad: str | None,
        progress: bool | None,
        further: dict[str, Any],
    ) -> np.ndarray:
        """What `function` makes of inputs, or `read` of records, as float32 with one row for each of them."""
        _check_count(batch_size, "batch_size")
        is_records = hasattr(x, "manifest")
        if pad is not None:
            if pad != "N" or self.window is None or is_records:
                raise JaxepiError(f'pad={pad!r} is not known here: pad="N" is for sequences of any length only.')
            x = centred(x, self.window)
        self._refuse({name: further[name] for name in further if is_records or name not in self.task.further})
        if is_records:
            task, count = self.for_dataset(x.manifest), len(x)
            rows = (x[number] for number in range(count))
            parts = (np.asarray(part, np.float32) for _, part in self.over(rows, task, read, batch_size))
            empty = (lambda model, batch: read(model, task, batch)), task.collate([None])
        else:
            accepted = self.task.accept(x, **further)
            count = len(jax.tree.leaves(accepted)[0])
            parts, empty = self._batches(function, accepted, count, batch_size), (function, accepted)
        if not count:
            return self._nothing(*empty)
        made = []
        with tqdm(total=count, unit="input", delay=PATIENCE, disable=None if progress is None else not progress) as bar:
            for part in parts:
                made.append(part)
                bar.update(len(part))
        return np.concatenate(made)

    def _batches(
        self, function: Callable[..., jax.Array], accepted: dict[str, Any], count: int, batch_size: int
    ) -> Iterator[np.ndarray]:
        """What `function` makes of `count` accepted rows, batch by batch."""
        size, run = self.rows(min(batch_size, count)), self._compiled_once(function, function)
        for low in range(0, count, size):
            rows = np.minimum(np.arange(low, low + size), count - 1)  # one shape, one compilation
            yield np.asarray(run(jax.tree.map(lambda array, rows=rows: array[rows], accepted)))[: count - low]

    def _nothing(self, function: Callable[..., jax.Array], batch: dict[str, Any]) -> np.ndarray:
        """What `function` would make of no rows."""
        row = jax.tree.map(lambda array: jax.ShapeDtypeStruct((1, *array.shape[1:]), array.dtype), batch)
        return np.empty((0, *jax.eval_shape(functools.partial(function, self.model), row).shape[1:]), np.float32)

    def predict_region(
        self, region: str, fasta: str | os.PathLike[str], batch_size: int = 32, **per_base: str | os.PathLike[str]
    ) -> RegionValues:
        """Predictions of a stretch of a genome, with the place of each value.

        Args:
          region: `chrom:start-end`, 0-based half-open, such as "chr1:1-2000". One that fits into the model's window is
            predicted by one window centred on it, a longer one by tiles, the last of which ends with it. Of bins, the
            predicted parts of the tiles lie side by side, and the last ones may lie behind the region.
          fasta: the genome, plain or bgzipped.
          batch_size: windows that go through the model at once.
          **per_base: BigWigs of inputs with a value a base, by the names in `task.per_base`; missing bases are 0.

        Warns of an input along the sequence that the model was trained with and does not get, or the other way round.

        Raises:
          JaxepiError: a region that is none or leaves its chromosome, a file that cannot be read or is of another
            genome, or a model that reads no sequence, or more than sequence.
        """
        if self.window is None:
            raise JaxepiError(f"{self.source} reads no sequence, so that it predicts no region.")
        interval, genome = as_interval(region), Genome(path_of(fasta, "a genome", "the path of a FASTA file"))
        require_inside(interval, genome)
        beside = PerBase(per_base, self.task, self.source, genome)
        starts = window_starts(interval, genome.lengths[interval.chrom], self.window, self.grid)
        places = positions_of(starts, self.grid, self.window)
        for note in beside.notes([interval.chrom] * len(starts)):
            warnings.warn(note, stacklevel=2)
        codes = [genome.codes(interval.chrom, int(s), int(s) + self.window, pad=True) for s in starts]
        further = beside.read([interval.chrom] * len(starts), starts.tolist())
        return RegionValues(interval.chrom, starts, places, self.predict(np.stack(codes), batch_size, **further))

    def at(self, codes: np.ndarray, offsets: np.ndarray) -> jax.Array:
        """Values (B, S, K) at some places, without moving the others off the device; returns before it is done.

        Args:
          codes: base codes (B, L) uint8; B as `rows` gives it.
          offsets: places (B, S) int32 among the P of the grid; any valid one may fill unused places.
        """
        return self._at(self.task.accept(codes), offsets)

    def begin(self, codes: np.ndarray, views: Views | None = None, **further: Any) -> jax.Array:
        """Values (B, P, K) float32 on the device; returns before they are done.

        Args:
          codes: base codes (B, L) uint8; B as `rows` gives it.
          views: over which a mean is taken; None for the windows as they are.
          **further: more inputs, by the names in `task.further`.
        """
        function = self._value_function(views or Views())
        return self._compiled_once(function, function)(self.task.accept(codes, **further))

    def for_dataset(self, manifest: Mapping[str, Any]) -> Task:
        """What makes inputs of the records of a dataset.

        Raises:
          JaxepiError: the dataset is of another kind, or made for a model of other sizes.
        """
        sizes = dataclasses.asdict(self.model.config)
        task = task_of(self.system, sizes, self.task.settled(), manifest, self.task.chosen)
        self._check(task)
        return task

    def over(
        self, records: Iterable[Record], task: Task, read: Read, batch_size: int
    ) -> Iterator[tuple[list[Record], Any]]:
        """Batches of records with what `read` makes of each record, as NumPy arrays.

        Records are read by one thread, and the device works on one batch while the last one is used.
        """
        run = self._program(read, task)
        rows, size = iter(records), self.rows(batch_size)

        def take() -> tuple[list[Record], dict[str, np.ndarray]] | None:
            batch = list(islice(rows, size))
            padding = [None] * (size - len(batch))  # one shape, one compilation
            return (batch, task.collate([*batch, *padding])) if batch else None

        with ThreadPoolExecutor(1) as reader:
            waiting, ahead = None, reader.submit(take)
            while taken := ahead.result():
                ahead = reader.submit(take)
                result = run(taken[1])
                if waiting:
                    yield _on_host(*waiting)
                waiting = (taken[0], result)
            if waiting:
                yield _on_host(*waiting)

    def _program(self, read: Read, task: Task) -> Callable[..., Any]:
        """`read` compiled for a dataset; kept, as a task for the same manifest gives the same program."""
        key = (read, repr(sorted(task.manifest.items(), key=lambda item: item[0])))
        return self._compiled_once(key, lambda model, batch: read(model, task, batch))

    def _compiled_once(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """`compiled`, kept under a key."""
        if key not in self._programs:
            self._programs[key] = self.compiled(function)
        return self._programs[key]

    def _check(self, task: Task) -> None:
        """Raises JaxepiError if a task is for a model of other sizes than this one."""
        has, needs = dataclasses.asdict(self.model.config), dataclasses.asdict(task.model_config)
        for name in has:
            if has[name] != needs[name]:
                raise JaxepiError(
                    f"{self.source} holds a model with {name} {_short(has[name])}, but this dataset or config.task "
                    f"needs {_short(needs[name])}: use a dataset prepared as for that model, or set config.task to it."
                )

    def _refuse(self, further: Mapping[str, Any]) -> None:
        for name in further:
            known = [*OPTIONS, *self.task.further]
            raise JaxepiError(
                f"{self.system.name} takes no input {name!r}{did_you_mean(name, known)}; beside the first argument it "
                f"takes {', '.join(known)}."
            )


def load(
    source: Source,
    *,
    which: str | None = None,
    system: str | None = None,
    tracks: Sequence[str] | None = None,
    window: int | None = None,
    precision: str | None = None,
    device: Any = None,
    dtype: str | None = None,
    task: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Predictor:
    """A trained run, a released file or a mapping of original tensors, ready to predict.

    Args:
      source: the --workdir of a run, or anything that `from_pretrained` takes.
      which: checkpoint of a run, "best" (by its validation metric) or "last"; None for what its config says.
      system: of a released file; recognised by the names of its tensors if not given.
      tracks: names of the tracks; otherwise those of the run or the file, the published ones for a published
        file, or track_0 and so on.
      window: input length in bp; otherwise the one of training.
      precision: of float32 products, for example "highest"; None is the device's default, which on recent GPUs rounds
        to fewer bits.
      device: "cpu", "gpu" or another backend of JAX, or one of its devices; otherwise every default device.
      dtype: to compute in, "float32" or "bfloat16" ("bf16"); otherwise as in training, for a released file float32.
      task: how a released model reads records, the fields of `config.task`; otherwise as its original does.
      **sizes: fields of the model's config, for a released file only; and `head`, of a run on several datasets with
        heads of their own the number of the dataset whose head predicts, in the order of `config.dataset.paths`.

    Raises:
      JaxepiError: nothing there, not readable, not safe, or tensors that do not fit.
    """
    path = None if isinstance(source, Mapping) else path_of(source)
    if path is not None and not os.path.exists(path):
        raise JaxepiError(f"There is no run and no file of weights at {path}.")
    if window is not None:
        _check_count(window, "window")
    if dtype is not None and dtype not in DTYPES:
        raise JaxepiError(f"dtype is {dtype!r}{did_you_mean(str(dtype), DTYPES)}, but must be one of {list(DTYPES)}.")
    if path is not None and path.is_dir():
        head = sizes.pop("head", None)
        given = [name for name, value in (("system", system), ("task", task)) if value is not None]
        if given or sizes:
            raise JaxepiError(f"{source} is a run, which knows its sizes: leave out {', '.join([*given, *sizes])}.")
        from jaxepi.trained import restore_model

        run = restore_model(path, which, DTYPES.get(dtype))
        found, model, name, config = get_system(run.config.system), run.model, str(path), run.config
        made = _with_head(run.task, head, name)
    else:
        if which is not None:
            raise JaxepiError(f"which={which!r} chooses a checkpoint of a run, but {source} is a file of weights.")
        sizes |= {} if dtype is None else {"dtype": DTYPES[dtype]}
        model, found, content = load_released(source, system, window, **sizes)
        if "window" in content.unsure:  # the bare model computes with any that fits, a prediction depends on it
            raise JaxepiError(content.unsure["window"])
        name, config, tracks = content.name, None, content.tracks if tracks is None else tracks
        if task is not None and not hasattr(task, "keys"):
            raise JaxepiError(f"task is {task!r}, but a mapping of fields of config.task to values was expected.")
        manifest, objective = found.weights.released(model.config, content.tracks, dict(task or {}))
        made = task_of(found, dataclasses.asdict(model.config), objective, manifest)
    if window is not None:
        made = _with_window(found, model, made, window, name)
    return Predictor(model, found, made, source=name, tracks=tracks, config=config, precision=precision, device=device)


def _with_head(task: Task, head: int | None, source: str) -> Task:
    """The task of a run, or of several datasets that of one.

    Raises:
      JaxepiError: there is no such head.
    """
    if head is not None and not task.parts:
        raise JaxepiError(f"{source} was trained on one dataset, or on several with one head: leave out head.")
    if head not in (None, *range(len(task.parts))):
        raise JaxepiError(f"head is {head!r}, but {source} has the heads 0 to {len(task.parts) - 1}.")
    return part_of(task, head or 0)


def _with_window(system: System, model: nnx.Module, task: Task, window: int, source: str) -> Task:
    """The task for windows of another length than the model was trained on.

    Raises:
      JaxepiError: the model reads no sequence, or the sizes of a run fix its window.
    """
    if task.window is None:
        raise JaxepiError(f"{source} reads no sequence: leave out window.")
    sizes = dataclasses.asdict(model.config)
    if sizes.get("window", window) != window:
        raise JaxepiError(f"{source} takes windows of {sizes['window']} bp: leave out window={window}.")
    return task_of(system, sizes, task.settled(), {**task.manifest, "window": int(window)}, task.chosen)


@functools.cache
def _read_over(views: Views) -> Read:
    """`predicted` over these views; the same function for the same views, so that it is compiled once."""
    return functools.partial(predicted, views=views)


def _on_host(records: Sequence[Record], result: Any) -> tuple[list[Record], Any]:
    """The rows of `result` that are records, on the host."""
    return list(records), jax.tree.map(lambda array: np.asarray(array)[: len(records)], result)


def _check_count(count: Any, name: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise JaxepiError(f"{name} is {count!r}, but must be a whole number of at least 1.")


def _short(value: Any) -> str:
    return f"{value[:3]}... ({len(value)})" if isinstance(value, list | tuple) and len(value) > 3 else str(value)
