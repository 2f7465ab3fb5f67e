"""Methylation at every CpG of a BED's regions or a FASTA's records: a table and one BigWig per track.

The coordinates follow Melody's own tool: a region that fits into a window is centred in one, a longer one is tiled;
reported is the 0-based position of the C of each CpG of the forward strand. A model of single sites sees each CpG in
the middle of a window of its own.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from google_crc32c import Checksum
from tqdm import tqdm

from jaxepi import __version__, sequence
from jaxepi.analysis.cpg_calls import SUMMARY, CallStore
from jaxepi.analysis.tiles import Plan, Records, Sites, Tiles, Window, read_bed, windows_of_batch
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.fasta import Genome
from jaxepi.predictor import Predictor
from jaxepi.storage.job import finished, write_errors

OVERLAPS = ("once", "repeat")

# windows, their codes (B, L), offsets (B, S) of the Cs to report, and how many of these each window has
Prepared = tuple[list[Window], np.ndarray, np.ndarray, list[int]]


def predict_files(
    predictor: Predictor,
    *,
    fasta: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    regions: str | os.PathLike[str] | None = None,
    tracks: Sequence[str] | None = None,
    batch_size: int = 32,
    overlap: str = "once",
    table: bool = True,
    bigwig: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Writes `out_dir` with `calls.tsv`, `bigwig/<track>.bw` and `predict.json`; all of it or nothing.

    Memory does not grow with the job. A job that was killed goes on when the same call is made again and gives the same
    bytes; a finished one is not repeated.

    Args:
      predictor: from `jaxepi.load`.
      fasta: the genome, or without `regions` the sequences themselves, one window each.
      out_dir: a folder that does not exist yet.
      regions: BED; None predicts the records of `fasta`.
      tracks: names, or parts of names that only one track has; None for all.
      batch_size: windows at a time.
      overlap: "once" reports each CpG of a region once; "repeat" reports the overlap of its last two tiles twice and
        leaves out a CpG that a tile cuts in two, as Melody's own tool does.
      table, bigwig: which of the two to write.
      progress: show a progress line.

    Returns: the content of `predict.json`: `calls`, `windows`, `regions`, `notes` and the arguments.

    Raises:
      JaxepiError: unreadable or unfitting input, told before any work; or the disk is full.
    """
    if predictor.grid.at not in ("cpg", "site") or not predictor.task.sequence_alone:
        raise JaxepiError(f"{predictor.source} does not predict CpGs from sequence alone.")
    if overlap not in OVERLAPS:
        raise JaxepiError(f"overlap is {overlap!r}{did_you_mean(overlap, OVERLAPS)}; it must be one of {OVERLAPS}.")
    if batch_size < 1 or not (table or bigwig):
        raise JaxepiError(f"batch_size is {batch_size} and must be at least 1, and a table or BigWigs must be wanted.")
    genome = Genome(fasta)
    chosen = select_tracks(predictor.tracks, tracks)
    window = predictor.window
    at_sites = predictor.grid.at == "site"
    if regions is None:
        plan: Plan = Records(genome, window, middle=at_sites)
    elif at_sites:
        plan = Sites(read_bed(regions, genome), genome, window)
    else:
        plan = Tiles(read_bed(regions, genome), genome, window, overlap == "repeat")
    size = predictor.rows(batch_size)
    names = [predictor.tracks[k] for k in chosen]
    arguments = {
        "model": predictor.digest(),
        "window": window,
        "tracks": names,
        "regions": None if regions is None else file_digest(Path(regions)),
        "fasta": genome_identity(genome),
        "overlap": overlap,
        "batch_size": size,
        "outputs": ["table"] * table + ["bigwig"] * bigwig,
    }
    out = Path(out_dir).absolute()
    if (done := finished(out, SUMMARY, arguments, "prediction")) is not None:
        return done
    if progress:
        for note in plan.notes():
            print(f"note: {note}", file=sys.stderr)
    with write_errors(out):
        store = CallStore(out, arguments, names, table=table, bigwig=bigwig)
        try:
            _predict_all(predictor, genome, plan, store, size, chosen, overlap == "once", progress)
            summary = {
                "jaxepi_version": __version__,
                "source": predictor.source,
                "regions": plan.regions,
                "windows": len(plan),
                "calls": store.calls,
                "notes": plan.notes(),
            }
            store.finish(contigs_of(genome), summary, progress)
        finally:
            store.close()
    return {"arguments": arguments, **summary}


def select_tracks(known: Sequence[str], wanted: Sequence[str] | None) -> list[int]:
    """Indices of the wanted tracks, each by its name or by a part that no other name has; all for None.

    Raises:
      JaxepiError: no track or several tracks fit.
    """
    if wanted is None:
        return list(range(len(known)))
    chosen = []
    for name in wanted:
        fits = [k for k, track in enumerate(known) if track == name] or [k for k, t in enumerate(known) if name in t]
        if len(fits) != 1:
            near = did_you_mean(name, known)
            what = f"fits {_first([known[k] for k in fits])}" if fits else f"fits no track{near}"
            raise JaxepiError(f"Track {name!r} {what}; name one of {_first(known)}.")
        chosen += fits
    return chosen


def _first(names: Sequence[str], most: int = 40) -> str:
    """Names for a sentence: of thousands the first ones."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _predict_all(
    predictor: Predictor,
    genome: Genome,
    plan: Plan,
    store: CallStore,
    size: int,
    chosen: list[int],
    across_tiles: bool,
    progress: bool,
) -> None:
    """Batch after batch from where the store stands; the device works on one while the last one is written."""
    index = {name: i for i, name in enumerate(contigs_of(genome))}
    batches = -(-len(plan) // size)
    start = store.batches
    done = plan[min(start * size, len(plan)) - 1].region if start else 0
    with tqdm(total=plan.regions, initial=done, unit="region", disable=not progress, desc="predict") as bar:

        def write(batch: int, prepared: Prepared, result: Any) -> None:
            windows, _, offsets, counts = prepared
            values = np.asarray(result)[:, :, chosen] if result is not None else None
            for row, (window, count) in enumerate(zip(windows, counts, strict=True)):
                if count:
                    if not np.isfinite(values[row, :count]).all():
                        raise JaxepiError(
                            f"The model gives NaN or infinity at {window.chrom}:{window.low}-{window.high}."
                        )
                    store.append(
                        window.chrom, index[window.chrom], window.start + offsets[row, :count], values[row, :count]
                    )
            store.commit(batch + 1)
            bar.update(windows[-1].region + (batch + 1 == batches) - bar.n)

        waiting = None
        for batch, prepared in _prepared(genome, plan, size, range(start, batches), across_tiles):
            # a model of single sites has one value a window, at the site that the window was made for
            places = prepared[2] if predictor.grid.at != "site" else np.zeros_like(prepared[2][:, :1])
            result = predictor.at(prepared[1], places) if any(prepared[3]) else None
            if waiting:
                write(*waiting)
            waiting = (batch, prepared, result)
        if waiting:
            write(*waiting)


def _prepared(
    genome: Genome, plan: Plan, size: int, batches: range, across_tiles: bool
) -> Iterator[tuple[int, Prepared]]:
    """Batches read ahead by one thread."""
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(_prepare, genome, plan, size, batch, across_tiles) for batch in batches[:2]]
        for i, batch in enumerate(batches):
            ready = ahead.pop(0)
            if i + 2 < len(batches):
                ahead.append(reader.submit(_prepare, genome, plan, size, batches[i + 2], across_tiles))
            yield batch, ready.result()


def _prepare(genome: Genome, plan: Plan, size: int, batch: int, across_tiles: bool) -> Prepared:
    """Reads one batch; rows without a window hold N, and the number of offsets is a power of two (few compilations)."""
    windows = windows_of_batch(plan, batch, size)
    length = plan.window
    codes = np.full((size, length), sequence.N, np.uint8)
    found = []
    for row, window in enumerate(windows):
        # One base more than the model sees, since a CpG may begin with the last one.
        letters = genome.codes(window.chrom, window.start, window.start + length + 1, pad=True)
        codes[row] = letters[:length]
        cpg = (letters[:-1] == sequence.C) & (letters[1:] == sequence.G)
        cpg[-1] &= across_tiles
        low, high = window.low - window.start, window.high - window.start
        found.append(low + np.flatnonzero(cpg[low:high]))
    most = max(len(offsets) for offsets in found)
    table = np.zeros((size, max(64, 1 << (most - 1).bit_length())), np.int32)
    for row, offsets in enumerate(found):
        table[row, : len(offsets)] = offsets
    return windows, codes, table, [len(offsets) for offsets in found]


def contigs_of(genome: Genome) -> dict[str, int]:
    """Contig lengths by name, the order that readers of BigWig rely on."""
    return dict(sorted(genome.lengths.items()))


def genome_identity(genome: Genome) -> str:
    """Size, contigs and lengths of a FASTA: what tells two genomes apart without reading them."""
    contigs = Checksum(json.dumps(genome.lengths).encode()).hexdigest().decode()
    return f"{genome.path.stat().st_size} bytes, contigs {contigs}"


def file_digest(path: Path) -> str:
    """CRC-32C of a file."""
    digest = Checksum()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest().decode()
