"""Embeddings: what a model's trunk makes of the windows of a dataset or of a genome, written to disk.

A row is a window, in the order of the dataset or of the BED: `Task.features` (T, C) in the number type asked for.
"""

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from jaxepi import __version__, sequence
from jaxepi.analysis.predict import file_digest, genome_identity
from jaxepi.analysis.tiles import inside
from jaxepi.data.array_folder import fingerprint_of_arrays
from jaxepi.data.dataset import Dataset
from jaxepi.data.manifest import sealed
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome import text_files
from jaxepi.genome.fasta import Genome
from jaxepi.genome.window_table import COLUMNS, EMBEDDINGS, Region
from jaxepi.predictor import Predictor, Read
from jaxepi.regions import centred_start
from jaxepi.storage.embedding_store import FORMATS, MANIFEST, STORED, EmbeddingStore
from jaxepi.storage.job import finished, write_errors
from jaxepi.task import Grid, Task

MOST_SPLITS = 100  # more different words in the fourth column of a BED are names of something else
NO_SPLIT = "all"  # the split of rows that name none
_PLACES = ("chrom", "start")

# windows of one batch, and of each what `_stored` gives
Batch = tuple[list[Region], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class EmbedOptions:
    """How embeddings are written.

    Attributes:
      dtype: one of `STORED`; float16 holds three digits and numbers up to 65,504, bfloat16 two digits of any size.
      form: "npy", shards that are read without unpacking, or "hdf5", the one compressed file that CS282A has.
      shard: rows of a file.
      batch_size: windows that go through the model at once.
      progress: show a progress line.
    """

    dtype: str = "float16"
    form: str = "npy"
    shard: int = 256
    batch_size: int = 8
    progress: bool = True

    def __post_init__(self) -> None:
        for name, value, known in (("dtype", self.dtype, STORED), ("format", self.form, FORMATS)):
            if value not in known:
                raise JaxepiError(f"{name} is {value!r}{did_you_mean(value, known)}; it must be {' or '.join(known)}.")
        for name, value in (("shard-windows", self.shard), ("windows-per-batch", self.batch_size)):
            if value < 1:
                raise JaxepiError(f"--{name} is {value}, but a number of at least 1 was expected.")
        if self.form == "hdf5" and self.dtype == "bfloat16":
            raise JaxepiError("HDF5 has no bfloat16: choose --dtype float16 or float32, or --format npy.")


class Windows(Protocol):
    """What is embedded.

    Attributes:
      about: entries of the manifest that tell where the windows are from.
      identity: the arguments that decide which windows these are.
    """

    about: dict[str, Any]
    identity: dict[str, Any]

    def __len__(self) -> int: ...

    def shape(self) -> tuple[int, int]:
        """(T, C) of a row."""
        ...

    def batches(self, start: int, size: int, dtype: str) -> Iterator[Batch]:
        """Batches of `size` windows from row `start` on, the device working ahead."""
        ...


def embed_dataset(
    predictor: Predictor,
    dataset: Dataset,
    out_dir: str | os.PathLike[str],
    split: str | None = None,
    options: EmbedOptions = EmbedOptions(),
) -> dict[str, Any]:
    """Writes the embeddings of the records of a dataset; see `embed`.

    Args:
      predictor: from `jaxepi.load`.
      dataset: one dataset of a kind that the model reads.
      out_dir: a folder that does not exist yet.
      split: such as train or train+valid; None for all records, split after split.
      options: how they are written.

    Raises:
      JaxepiError: as `embed`, or several datasets at once.
    """
    return embed(predictor, DatasetWindows(predictor, dataset, split), Path(out_dir), options)


def embed_regions(
    predictor: Predictor,
    fasta: str | os.PathLike[str],
    regions: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    options: EmbedOptions = EmbedOptions(),
) -> dict[str, Any]:
    """Writes the embeddings of windows of a genome, one for each row of a BED; see `embed` and `GenomeWindows`."""
    return embed(predictor, GenomeWindows(predictor, Genome(fasta), Path(regions)), Path(out_dir), options)


def embed(predictor: Predictor, windows: Windows, out: Path, options: EmbedOptions) -> dict[str, Any]:
    """Writes embeddings as `jaxepi.storage.embedding_store` lays them out; all of them or nothing.

    Memory does not grow with the job. A job that was killed goes on when the same call is made again; a finished one is
    not repeated.

    Returns: the content of manifest.json.

    Raises:
      JaxepiError: unfitting input, a full disk, or a number that is NaN or does not fit into the number type.
    """
    out, size = out.absolute(), predictor.rows(options.batch_size)
    arguments = {
        "model": predictor.digest(), "window": predictor.window, **windows.identity, "dtype": options.dtype,
        "format": options.form, "shard": options.shard, "batch_size": size,
    }  # fmt: skip
    if (done := finished(out, MANIFEST, arguments, "set of embeddings")) is not None:
        return done
    bins, channels = windows.shape()
    bin_width, crop = bins_of(predictor.grid, predictor.window, bins)
    told: dict[str, Any] = {
        "kind": EMBEDDINGS, "jaxepi_version": __version__, "arguments": arguments,
        "trunk": {"system": predictor.system.name, "source": predictor.source, "weights": arguments["model"]},
        "data": windows.about, "window": predictor.window, "bins": bins, "channels": channels, "dtype": options.dtype,
        "bin_width": bin_width, "crop": crop, "count": len(windows), "shard": options.shard,
    }  # fmt: skip

    def seal(files: dict[str, dict[str, Any]]) -> str:
        told["files"], told["splits"] = files, {name: {"records": count} for name, count in store.splits.items()}
        told["fingerprint"] = fingerprint_of_arrays(arguments, files)
        return sealed(told)

    with write_errors(out):
        store = EmbeddingStore(
            out, arguments, count=len(windows), shape=(bins, channels), columns=COLUMNS, dtype=options.dtype,
            shard=options.shard, form=options.form,
        )  # fmt: skip
        with store:
            _write_all(windows, store, size, options)
            store.finish(seal)
    return told


def _write_all(windows: Windows, store: EmbeddingStore, size: int, options: EmbedOptions) -> None:
    """Batch after batch from where the store stands."""
    left = tqdm(
        total=len(windows), initial=store.rows, unit="window", disable=not options.progress, desc="embed", mininterval=1
    )
    with left as bar:
        for regions, stored in windows.batches(store.rows, size, options.dtype):
            _check(regions, stored, store, options.dtype)
            store.append(stored["values"], regions)
            bar.update(len(regions))


def _check(regions: Sequence[Region], stored: dict[str, np.ndarray], store: EmbeddingStore, dtype: str) -> None:
    """Raises JaxepiError for numbers that cannot be kept; what was written is removed, as it could never be ended."""
    for name, what in (("undefined", "NaN or infinite"), ("beyond", f"beyond what {dtype} holds")):
        if count := int(stored[name].sum(dtype=np.int64)):
            region = regions[int(np.flatnonzero(stored[name])[0])]
            store.discard()
            remedy = "the weights or the records are damaged"
            if name == "beyond":
                remedy = "use --dtype " + ("float32" if dtype == "bfloat16" else "bfloat16 or float32")
            raise JaxepiError(
                f"{count:,} numbers of the {len(regions)} embeddings from {region.chrom}:{region.start} on are {what}: "
                f"{remedy}."
            )


def bins_of(grid: Grid, window: int, count: int) -> tuple[int | None, int | None]:
    """Width in bp of the T places of an embedding, and the bp at either end of the window without one; None: not told.

    The trunk has places where the prediction has its bins, or one for the whole window.
    """
    if count == (window - 2 * grid.crop) // grid.bin and grid.at not in ("site", "record"):
        return grid.bin, grid.crop
    return (window, 0) if count == 1 else (None, None)


def _stored(features: jax.Array, dtype: str) -> dict[str, jax.Array]:
    """Features (B, T, C) as the files hold them, and how many numbers of each row (B,) cannot be kept; traceable."""
    features = features.astype(jnp.float32)
    values = features.astype(dtype)
    finite = jnp.isfinite(features)
    beyond = finite & ~jnp.isfinite(values)
    if dtype == "bfloat16":
        values = jax.lax.bitcast_convert_type(values, jnp.uint16)
    return {"values": values, "undefined": (~finite).sum((1, 2)), "beyond": beyond.sum((1, 2))}


def _stored_record(model: nnx.Module, task: Task, batch: dict[str, jax.Array], dtype: str) -> dict[str, jax.Array]:
    inputs, _ = task.prepare(batch, jax.random.key(0), False)
    return _stored(task.features(model, inputs), dtype)


def _stored_window(model: nnx.Module, accepted: dict[str, jax.Array], task: Task, dtype: str) -> dict[str, jax.Array]:
    return _stored(task.features(model, task.expand(accepted)), dtype)


@functools.cache
def _record_reader(dtype: str) -> Read:
    """`_stored_record` of a number type: the same function each time, so that it is compiled once."""
    return functools.partial(_stored_record, dtype=dtype)


def _require_window(predictor: Predictor) -> int:
    """The window of the model. Raises JaxepiError if it reads no sequence."""
    if predictor.window is None:
        raise JaxepiError(
            f"{predictor.source} reads no sequence, so that its features belong to no window of a genome: take them "
            "from predictor.features in Python."
        )
    return predictor.window


class DatasetWindows:
    """The records of a dataset, split after split."""

    def __init__(self, predictor: Predictor, dataset: Dataset, split: str | None = None):
        """Raises JaxepiError: no such split, a dataset that does not fit, or several datasets."""
        window = _require_window(predictor)
        if len(dataset.parts) > 1:
            raise JaxepiError(
                f"The config names the datasets {dataset.path}: embed them one by one, with --config.dataset.paths=() "
                "and --config.dataset.path."
            )
        names = split.split("+") if split else [name for name, count in dataset.splits.items() if count]
        self._parts = [dataset.split(name) for name in names]
        self._ends = np.cumsum([len(part) for part in self._parts])
        self._predictor, self._window = predictor, window
        self._task = predictor.for_dataset(dataset.manifest)
        first = self._parts[0][0]
        if missing := [name for name in _PLACES if name not in first]:
            raise JaxepiError(f"{dataset.path}: records have no {missing[0]!r}, so that an embedding has no place.")
        self.about = {"dataset": str(dataset.path), "fingerprint": dataset.fingerprint, "kind": dataset.kind}
        self.identity = {"dataset": dataset.fingerprint, "splits": "+".join(names)}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def shape(self) -> tuple[int, int]:
        batch = {name: np.asarray(array) for name, array in self._task.collate([self._parts[0][0]]).items()}
        read = functools.partial(_stored_record, self._predictor.model, self._task, dtype="float32")
        return jax.eval_shape(read, batch)["values"].shape[1:]

    def batches(self, start: int, size: int, dtype: str) -> Iterator[Batch]:
        read, row = _record_reader(dtype), start
        for records, stored in self._predictor.over(self._records(start), self._task, read, size):
            splits = [
                self._parts[part].name for part in np.searchsorted(self._ends, range(row, row + len(records)), "right")
            ]
            yield [self._region(record, split) for record, split in zip(records, splits, strict=True)], stored
            row += len(records)

    def _records(self, start: int) -> Iterator[Any]:
        for part, end in zip(self._parts, self._ends, strict=True):
            for number in range(max(start - int(end) + len(part), 0), len(part)):
                yield part[number]

    def _region(self, record: Any, split: str) -> Region:
        start = int(record["start"])
        key = record.get("key") or f"{record['chrom']}:{start}-{start + self._window}"
        return Region(key, record["chrom"], start, start + self._window, split)


class GenomeWindows:
    """A window of a genome for each row of a BED, in its order; the fourth column, if there is one, is the split.

    A row of another length than the window gives the window centred on it; beyond the ends of a chromosome lie N.
    """

    def __init__(self, predictor: Predictor, genome: Genome, regions: Path):
        """Raises JaxepiError: a line that is no interval of the genome, or a model that reads more than sequence."""
        self._window = _require_window(predictor)
        if not predictor.task.sequence_alone:
            raise JaxepiError(
                f"{predictor.source} reads more than sequence: embed the records of a dataset, without --fasta and "
                "--regions."
            )
        self._predictor, self._genome = predictor, genome
        self._programs: dict[str, Callable[..., Any]] = {}  # compiled, by number type
        rows = list(text_files.read_bed(regions))
        if not rows:
            raise JaxepiError(f"{regions} holds no region: expected lines with chromosome, start and end.")
        self._rows = [self._row(row, genome, regions) for row in rows]
        if len({region.split for region in self._rows}) > MOST_SPLITS:
            raise JaxepiError(
                f"{regions} has more than {MOST_SPLITS} different words in its fourth column, where names of splits "
                "were expected: leave the column out."
            )
        self.notes = list(self._told(rows))
        self.about = {"fasta": str(genome.path), "regions": str(regions), "notes": self.notes}
        self.identity = {"fasta": genome_identity(genome), "regions": file_digest(regions)}

    def _row(self, row: text_files.BedRow, genome: Genome, path: Path) -> Region:
        chrom, start, end = inside(row, genome, path)
        if end - start != self._window:
            start = centred_start(start, end, self._window)
        split = row.further[0] if row.further and row.further[0] else NO_SPLIT
        return Region(f"{chrom}:{start}-{start + self._window}", chrom, start, start + self._window, split)

    def _told(self, rows: Sequence[text_files.BedRow]) -> Iterator[str]:
        longer = sum(row.interval.length > self._window for row in rows)
        shorter = sum(row.interval.length < self._window for row in rows)
        beyond = sum(row.start < 0 or row.end > self._genome.lengths[row.chrom] for row in self._rows)
        unnamed = sum(row.split == NO_SPLIT for row in self._rows)
        if longer:
            yield f"regions longer than {self._window} bp, of which only the centre is embedded: {longer}"
        if shorter:
            yield f"regions shorter than {self._window} bp, with what lies around them: {shorter}"
        if beyond:
            yield f"windows that reach beyond their chromosome, with N there: {beyond}"
        if 0 < unnamed < len(rows):
            yield f"regions without a split beside others that name one, taken as {NO_SPLIT!r}: {unnamed}"

    def __len__(self) -> int:
        return len(self._rows)

    def shape(self) -> tuple[int, int]:
        return self._shape

    @functools.cached_property
    def _shape(self) -> tuple[int, int]:
        """Tracing a large model takes a second."""
        codes, task = np.full((1, self._window), sequence.N, np.uint8), self._predictor.task
        read = functools.partial(_stored_window, self._predictor.model, task=task, dtype="float32")
        return jax.eval_shape(read, task.accept(codes))["values"].shape[1:]

    def _program(self, dtype: str) -> Callable[..., Any]:
        if dtype not in self._programs:
            read = functools.partial(_stored_window, task=self._predictor.task, dtype=dtype)
            self._programs[dtype] = self._predictor.compiled(read)
        return self._programs[dtype]

    def batches(self, start: int, size: int, dtype: str) -> Iterator[Batch]:
        if start == 0:
            for note in self.notes:
                print(f"note: {note}", file=sys.stderr)
        task = self._predictor.task
        run = self._program(dtype)

        def take(low: int) -> tuple[list[Region], dict[str, Any]]:
            rows = self._rows[low : low + size]
            codes = np.full((size, self._window), sequence.N, np.uint8)
            for own, row in zip(codes, rows, strict=False):
                own[:] = self._genome.codes(row.chrom, row.start, row.end, pad=True)
            return rows, task.accept(codes)

        with ThreadPoolExecutor(1) as reader:
            waiting, ahead = None, reader.submit(take, start)
            for low in range(start, len(self._rows), size):
                (rows, accepted), ahead = ahead.result(), reader.submit(take, low + size)
                result = run(accepted)
                if waiting:
                    yield _on_host(*waiting)
                waiting = rows, result
            if waiting:
                yield _on_host(*waiting)


def _on_host(rows: list[Region], stored: dict[str, jax.Array]) -> Batch:
    return rows, {name: np.asarray(array)[: len(rows)] for name, array in stored.items()}
