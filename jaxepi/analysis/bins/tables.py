"""A table of predicted bins: a row a bin, a column a track, plain or gzipped."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

_COLUMNS = ("chrom", "start", "end")


def write_bin_table(
    path: Path,
    contigs: Mapping[str, int],
    chrom: np.ndarray,
    start: np.ndarray,
    bin_width: int,
    values: np.ndarray,
    tracks: Sequence[str],
    progress: bool = False,
) -> None:
    """Writes the bins of sites in their order, each with six significant digits.

    Sites may overlap, whose bins then appear in each. A bin that leaves its contig is written as far as it lies inside.

    Args:
      path: gzipped if it ends with .gz; the same numbers give the same bytes.
      contigs: name -> length.
      chrom, start: (N,) contig and first base of each site.
      bin_width: bp.
      values: (N, M, K); one site is in memory at once.
      tracks: (K,) names.
      progress: show a progress line.
    """
    row = "%s\t%d\t%d" + "\t%.6g" * len(tracks) + "\n"
    with open(path, "wb") as raw, tqdm(total=len(values), unit="site", disable=not progress, desc="table") as bar:
        file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        titles = (" ".join(name.split()) for name in tracks)  # a tab in a name would be another column
        file.write(("\t".join((*_COLUMNS, *titles)) + "\n").encode())
        for site in range(len(values)):
            name, length = str(chrom[site]), contigs[str(chrom[site])]
            edges = np.clip(start[site] + bin_width * np.arange(values.shape[1] + 1, dtype=np.int64), 0, length)
            lines = [
                row % (name, low, high, *numbers)
                for low, high, numbers in zip(
                    edges[:-1].tolist(), edges[1:].tolist(), values[site].tolist(), strict=True
                )
                if low < high
            ]
            file.write("".join(lines).encode())
            bar.update()
        if file is not raw:
            file.close()
