"""BigWigs of predicted bins: one file a track, each base written once."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyBigWig
from tqdm import tqdm

OPEN_FILES = 128  # at once: of more tracks, the values are read again for every so many


def write_bin_bigwigs(
    paths: Sequence[Path],
    contigs: Mapping[str, int],
    chrom: np.ndarray,
    start: np.ndarray,
    bin_width: int,
    values: np.ndarray,
    progress: bool = False,
) -> None:
    """Writes the bins of sites, which may overlap and leave their contigs.

    Where sites overlap, the one that begins first counts, of those that begin together the first one. A bin that is cut
    by another site or by the end of a contig is written as far as it is left.

    Args:
      paths: K files.
      contigs: name -> length, in the order of the files.
      chrom, start: (N,) contig and first base of each site.
      bin_width: bp.
      values: (N, M, K); a few sites are in memory at once.
      progress: show a progress line.
    """
    visible = list(_visible(contigs, chrom, start, bin_width * values.shape[1]))
    groups = range(0, len(paths), OPEN_FILES)
    with tqdm(total=len(visible) * len(groups), unit="site", disable=not progress, desc="bigwig") as bar:
        for first in groups:
            with contextlib.ExitStack() as stack:
                files = [pyBigWig.open(str(path), "w") for path in paths[first : first + OPEN_FILES]]
                for file in files:
                    stack.callback(file.close)
                    file.addHeader(list(contigs.items()))
                for site, low, high in visible:
                    columns = np.ascontiguousarray(values[site, :, first : first + OPEN_FILES].T, np.float64)
                    _add_site(files, str(chrom[site]), int(start[site]), bin_width, low, high, columns)
                    bar.update()


def _visible(
    contigs: Mapping[str, int], chrom: np.ndarray, start: np.ndarray, length: int
) -> Iterator[tuple[int, int, int]]:
    """(site, first base, end) of what is written of each site (N,) of `length` bp, in the order of the files."""
    rank = {name: number for number, name in enumerate(contigs)}
    contig, reached = "", 0
    for site in np.lexsort((start, [rank[name] for name in chrom.tolist()])).tolist():
        if chrom[site] != contig:
            contig, reached = str(chrom[site]), 0
        low, high = max(int(start[site]), reached), min(int(start[site]) + length, contigs[contig])
        if low < high:
            reached = high
            yield site, low, high


def _add_site(
    files: Sequence[pyBigWig.pyBigWig], chrom: str, start: int, width: int, low: int, high: int, columns: np.ndarray
) -> None:
    """Adds the bins of a site that lie in [low, high), of every file its column (M,)."""
    edges = np.clip(start + width * np.arange(columns.shape[1] + 1, dtype=np.int64), low, high)
    kept = np.flatnonzero(np.diff(edges))
    starts, ends = edges[kept], edges[kept + 1]
    whole = bool((ends - starts == width).all())
    for file, column in zip(files, columns, strict=True):
        if whole:
            file.addEntries(chrom, int(starts[0]), values=column[kept], span=width, step=width)
        else:
            file.addEntries([chrom] * len(kept), starts.tolist(), ends=ends.tolist(), values=column[kept].tolist())
