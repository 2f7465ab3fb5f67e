"""Predicted bins of regions, or of a FASTA's records, as HDF5, BigWigs, a table and plots: streamed and resumable.

Coordinates and HDF5 file follow Basenji's own basenji_predict_bed.py. Letters: B windows of a batch, L base pairs, N
sites, M bins of a site, K tracks that are written.
"""

import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxepi import __version__
from jaxepi.analysis.bins.along import Along
from jaxepi.analysis.bins.bigwigs import write_bin_bigwigs
from jaxepi.analysis.bins.measured import Files, MeasuredTracks
from jaxepi.analysis.bins.places import Place, windows_told
from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.analysis.bins.region_files import write_regions
from jaxepi.analysis.bins.tables import write_bin_table
from jaxepi.analysis.bins.values import as_kind, check_finite, notes_of, short_list
from jaxepi.analysis.predict import contigs_of, file_digest, genome_identity, select_tracks
from jaxepi.analysis.tiles import read_bed
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Intervals
from jaxepi.predictor import Predictor
from jaxepi.regions import PerBase, require_inside
from jaxepi.storage.job import file_names, finished, require_h5py, write_errors
from jaxepi.storage.row_store import RowArray, RowStore, texts
from jaxepi.storage.write_behind import WriteBehind
from jaxepi.task import Views

TABLES = {"table": "predict.tsv", "table.gz": "predict.tsv.gz"}
FORMATS = ("hdf5", "bigwig", *TABLES, "plot")
OF_FILES, OF_PLACES = ("hdf5", "bigwig"), ("bigwig", "table", "plot")  # what is written unless it is said
DTYPES = {"float16": np.float16, "float32": np.float32}
MANY_TRACKS = 200  # with more, BigWigs are only made if they are asked for
MOST_TOLD = 10  # places whose windows are shown on the terminal
SUMMARY = "predict.json"
AHEAD = 2  # batches that are read ahead

Windows = tuple[np.ndarray, dict[str, np.ndarray]]  # codes (B, L) uint8, and inputs (B, L) beside them


@dataclasses.dataclass(frozen=True)
class Content:
    """What is written of the predicted bins.

    Attributes:
      tracks: numbers of the K outputs of the model; names: of these.
      formats: of `FORMATS`.
      dtype: of the numbers.
      total: the sum of a site instead of its bins.
    """

    tracks: Sequence[int]
    names: Sequence[str]
    formats: Sequence[str]
    dtype: type[np.generic]
    total: bool

    @property
    def file(self) -> str:
        """Where the numbers are kept; without HDF5 only until the other files are there."""
        return "predict.h5" if "hdf5" in self.formats else "predict.raw"


def predict_bin_files(
    predictor: Predictor,
    *,
    fasta: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    regions: str | os.PathLike[str] | Sequence[Place] | None = None,
    tracks: Sequence[str] | None = None,
    site_length: int | None = None,
    total: bool = False,
    formats: Sequence[str] | None = None,
    dtype: str | None = None,
    measured: Files | None = None,
    measured_stat: str = "mean",
    per_base: Mapping[str, str | os.PathLike[str]] | None = None,
    batch_size: int = 4,
    views: Views | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with what `formats` says, and `predict.json`; all of it or nothing.

    `predict.h5` holds `preds` (N, M, K), or sums (N, K), and of every site `chrom`, `start`, `end` and `region` (N,),
    the number of the region that it serves; and `tracks` (K,). `bigwig/<track>.bw` and `predict.tsv` hold the same
    bins, `plot/<region>.png` shows them, and `measured.tsv` compares them with what was measured. Memory does not grow
    with the job. A job that was killed goes on when the same call is made again and gives the same bytes; a finished
    one is not repeated.

    Args:
      predictor: from `jaxepi.load`, of a model of bins.
      fasta: the genome, or without `regions` the sequences themselves, one window on the middle of each.
      out_dir: a folder that does not exist yet.
      regions: BED, or places from `jaxepi.analysis.bins.places`; None predicts the records of `fasta`.
      tracks: names, or parts of names that only one track has; None for all.
      site_length: bp around the middle of each region that are written, see `BinPlan`; None for all that is predicted.
      total: write the sum of each site instead of its bins.
      formats: of `FORMATS`; None for "hdf5" and "bigwig", of places "bigwig", "table" and "plot". BigWigs of more than
        200 tracks must be asked for.
      dtype: "float16" or "float32"; None for float16, of sums and places float32.
      measured: BigWigs to compare with: track -> file, or a file for each written track in order.
      measured_stat: "mean" or "sum" of the bases of a bin.
      per_base: BigWigs of inputs with a value a base, such as conservation, by the names in `task.per_base`.
      batch_size: windows at a time.
      views: shifts and strands over whose predictions a mean is taken; None for the windows as they are.
      progress: show a progress line, and notes.

    Returns: the content of `predict.json`.

    Raises:
      JaxepiError: unreadable or unfitting input, told before any work; or the disk is full.
    """
    if predictor.grid.at != "bin" or not predictor.task.sequence_alone:
        raise JaxepiError(f"{predictor.source} does not predict bins from sequence alone.")
    if batch_size < 1:
        raise JaxepiError(f"batch_size is {batch_size} and must be at least 1.")
    views = views or Views()
    views.check(predictor.task, predictor.source)
    places = None if regions is None or isinstance(regions, str | os.PathLike) else list(regions)
    content = _content(predictor.tracks, tracks, formats, dtype, total, places is not None, measured is not None)
    genome = Genome(fasta)
    plan = _plan(predictor, genome, regions if places is None else places, site_length)
    inputs = PerBase(per_base or {}, predictor.task, predictor.source, genome)
    beside = None if measured is None else MeasuredTracks(measured, content.names, measured_stat, genome, plan)
    arguments = {
        "model": predictor.digest(),
        "window": predictor.window,
        "tracks": short_list(content.names),
        "regions": _identity(regions if places is None else places),
        "fasta": genome_identity(genome),
        "site_length": plan.bin * plan.bins,
        "sum": total,
        "dtype": np.dtype(content.dtype).name,
        "batch_size": predictor.rows(batch_size),
        "outputs": list(content.formats),
        "rc": views.reverse_complement,
        "shifts": list(views.shifts),
        "per_base": inputs.arguments() or None,
        "measured": None if beside is None else beside.arguments(),
    }
    out = Path(out_dir).absolute()
    if (done := finished(out, SUMMARY, arguments, "prediction")) is not None:
        return done

    def place_of(number: int) -> Place:
        return Place(plan.regions[number]) if places is None else places[number]

    along = Along(plan, place_of, len(content.names), beside, "plot" in content.formats)
    notes = [*plan.notes(), *inputs.notes(plan.chrom), *along.notes(), *_notes(plan, places, content, formats)]
    for note in [*notes, *windows_told((places or [])[:MOST_TOLD], plan)] if progress else []:
        print(f"note: {note}", file=sys.stderr)
    with write_errors(out), RowStore(out, arguments, {content.file: _array(plan, content)}) as store:
        read = functools.partial(_read, genome, inputs, plan, arguments["batch_size"])
        _predict_all(predictor, read, plan, content, store, arguments["batch_size"], views, progress)
        found = _write_others(store, plan, content, contigs_of(genome), along, predictor.task.options.unit, progress)
        summary = {
            "jaxepi_version": __version__,
            "source": predictor.source,
            "regions": int(plan.region[-1]) + 1,
            "windows": len(plan),
            "tracks": len(content.names),
            "places": windows_told(places or [], plan),
            "measured": found["measured"],
            "notes": [*notes, *notes_of(store.state), *found["notes"]],
        }
        store.publish(SUMMARY, summary)
    return {"arguments": arguments, **summary}


def _content(
    known: Sequence[str],
    tracks: Sequence[str] | None,
    formats: Sequence[str] | None,
    dtype: str | None,
    total: bool,
    of_places: bool,
    measured: bool,
) -> Content:
    """What is asked for.

    Raises:
      JaxepiError: an unknown track, format or type of numbers, no format, HDF5 without h5py, or bins of what is summed.
    """
    chosen = select_tracks(known, tracks)
    wanted = formats
    if formats is None:
        few = tracks is not None or len(chosen) <= MANY_TRACKS
        usual = (*(OF_PLACES if of_places else OF_FILES), *(["plot"] if measured else []))
        wanted = [name for name in usual if (few or name != "bigwig") and not (total and name == "plot")]
    for name in wanted:
        if name not in FORMATS:
            raise JaxepiError(f"A format is {name!r}{did_you_mean(name, FORMATS)}, but must be one of {FORMATS}.")
    if not wanted:
        raise JaxepiError(f"formats is empty, but one or more of {', '.join(FORMATS)} were expected.")
    if total and (measured or "plot" in wanted):
        raise JaxepiError(f"{'measured' if measured else 'plot'} is of bins and not of their sums: leave out one.")
    if "hdf5" in wanted:
        require_h5py(", or leave it out with --formats bigwig")
    kind = dtype or ("float32" if total or of_places else "float16")
    if kind not in DTYPES:
        raise JaxepiError(f"dtype is {kind!r}{did_you_mean(kind, DTYPES)}, but must be one of {list(DTYPES)}.")
    ordered = [name for name in FORMATS if name in wanted]
    return Content(chosen, [known[k] for k in chosen], ordered, DTYPES[kind], total)


def _plan(
    predictor: Predictor,
    genome: Genome,
    regions: str | os.PathLike[str] | Sequence[Place] | None,
    site_length: int | None,
) -> BinPlan:
    """Windows over regions, or on the middle of each record of a FASTA.

    Raises:
      JaxepiError: there is no region, or one that does not lie in the genome.
    """
    if regions is None:
        intervals = Intervals.of((name, 0, length) for name, length in genome.lengths.items())
    elif isinstance(regions, str | os.PathLike):
        intervals = read_bed(regions, genome)
    else:
        if not regions:
            raise JaxepiError("regions holds no place, but one or more were expected.")
        for place in regions:
            require_inside(place.interval, genome)
        intervals = Intervals.of((place.interval for place in regions), genome.names)
    sizes = (predictor.grid, predictor.window, site_length)
    return BinPlan(intervals, genome.lengths, *sizes, tiled=regions is not None)


def _identity(regions: str | os.PathLike[str] | Sequence[Place] | None) -> Any:
    """What tells regions apart: the checksum of a BED, or the places."""
    if regions is None or isinstance(regions, str | os.PathLike):
        return None if regions is None else file_digest(Path(regions))
    return short_list([f"{place} {place.interval}" for place in regions], "regions")


def _notes(plan: BinPlan, places: Sequence[Place] | None, content: Content, formats: Sequence[str] | None) -> list[str]:
    """Sentences on what may not be as one expects."""
    told = []
    if formats is None and "bigwig" not in content.formats:
        told.append(f"no BigWigs of {len(content.names):,} tracks; --tracks or --formats bigwig asks for them")
    tiled = len(plan) - len(np.unique(plan.region))
    if places is not None and tiled:
        count = int((np.bincount(plan.region) > 1).sum())
        span = plan.bin * plan.bins
        told.append(
            f"regions longer than the {span} bp that a window predicts, which several windows tile (--site-length "
            f"{span} predicts the middle of each by one): {count}"
        )
    return told


def _array(plan: BinPlan, content: Content) -> RowArray:
    start, end = plan.sites
    beside = {"chrom": texts(plan.chrom), "start": start, "end": end, "region": plan.region}
    shape = (len(content.names),) if content.total else (plan.bins, len(content.names))
    beside["tracks"] = texts(content.names)
    return RowArray("preds", (len(plan), *shape), content.dtype, beside, {"bin": plan.bin})


def _predict_all(
    predictor: Predictor,
    read: Callable[[int], Windows],
    plan: BinPlan,
    content: Content,
    store: RowStore,
    size: int,
    views: Views,
    progress: bool,
) -> None:
    """Batch after batch from where the store stands: read ahead by one thread, written by another."""
    whole = len(content.tracks) == len(predictor.tracks)
    columns = None if whole else tuple(content.tracks)

    def sites_of(values: jax.Array) -> tuple[jax.Array, ...]:
        return _sites_of(values, plan.first, plan.bins, columns, content.total, content.dtype)

    def write(low: int, made: tuple[jax.Array, ...]) -> None:
        rows = min(size, len(plan) - low)
        sites, finite, beyond = (np.asarray(array)[:rows] for array in made)
        check_finite(finite, lambda row: f"{plan.chrom[low + row]}:{plan.start[low + row]}")
        store.append({content.file: sites}, beyond=beyond.sum())
        bar.update(rows)

    bar = tqdm(total=len(plan), initial=store.rows, unit="window", disable=not progress, desc="predict")
    with bar, WriteBehind() as behind:
        for low, (codes, further) in _read_ahead(read, range(store.rows, len(plan), size)):
            behind.submit(functools.partial(write, low, sites_of(predictor.begin(codes, views, **further))))


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4, 5))
def _sites_of(
    values: jax.Array, first: int, bins: int, columns: tuple[int, ...] | None, total: bool, dtype: type[np.generic]
) -> tuple[jax.Array, ...]:
    """Sites (B, M, K), or sums (B, K), of values (B, T, all tracks): what is not written stays on the device."""
    sites = values[:, first : first + bins]
    sites = sites if columns is None else sites[:, :, np.array(columns)]
    return as_kind(sites.sum(axis=1) if total else sites, dtype)


def _read(genome: Genome, inputs: PerBase, plan: BinPlan, size: int, low: int) -> Windows:
    """The batch that begins with a window; the last batch is filled up."""
    rows = np.minimum(np.arange(low, low + size), len(plan) - 1)
    chroms, starts = [str(plan.chrom[row]) for row in rows], [int(plan.start[row]) for row in rows]
    places = zip(chroms, starts, strict=True)
    codes = np.stack([genome.codes(chrom, start, start + plan.window, pad=True) for chrom, start in places])
    return codes, inputs.read(chroms, starts)


def _read_ahead(read: Callable[[int], Windows], lows: Sequence[int]) -> Iterator[tuple[int, Windows]]:
    """First window and content of every batch, read by one thread."""
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, low) for low in lows[:AHEAD]]
        for number, low in enumerate(lows):
            windows = ahead.pop(0).result()
            if number + AHEAD < len(lows):
                ahead.append(reader.submit(read, lows[number + AHEAD]))
            yield low, windows


def _write_others(
    store: RowStore,
    plan: BinPlan,
    content: Content,
    contigs: Mapping[str, int],
    along: Along,
    unit: str,
    progress: bool,
) -> dict[str, Any]:
    """All files but the HDF5 one, from the rows that are there; a sum is one bin as long as its site.

    Returns: what `write_regions` found.
    """
    store.sync()
    values, width = store.files[content.file].view(), plan.bin
    if content.total:
        values, width = values[:, None], plan.bin * plan.bins
    sites = (contigs, plan.chrom, plan.sites[0], width, values)
    if "bigwig" in content.formats:
        _write_bigwigs(store.partial / "bigwig", content.names, sites, progress)
    for name, file in TABLES.items():
        if name in content.formats:
            write_bin_table(store.partial / file, *sites, content.names, progress)
    return write_regions(store.partial, along, values, content.names, unit, progress)


def _write_bigwigs(folder: Path, tracks: Sequence[str], sites: tuple[Any, ...], progress: bool) -> None:
    """One BigWig a track; `sites` as `write_bin_bigwigs` takes them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    paths = [folder / f"{name}.bw" for name in file_names(tracks)]
    try:
        write_bin_bigwigs(paths, *sites, progress)
    except RuntimeError as problem:  # pyBigWig's only word for a full disk
        raise OSError(f"BigWig: {problem}") from problem
