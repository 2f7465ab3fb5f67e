"""Tables of windows: the rows of regions.tsv beside arrays with a row a window, or a BED with a split in each row."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import read_bed, read_lines

REGIONS = "regions.tsv"
EMBEDDINGS, LABELS = "embedding_arrays", "label_arrays"  # kinds of folders that have one, as their manifests name them
COLUMNS = ("key", "chrom", "start", "end", "split")  # others may follow


class Region(NamedTuple):
    """One row: a window, 0-based half-open, and its split."""

    key: str
    chrom: str
    start: int
    end: int
    split: str


class Regions(NamedTuple):
    """The windows of N rows, in order."""

    chrom: list[str]
    start: np.ndarray  # (N,) int64, 0-based
    end: np.ndarray  # (N,) int64
    split: list[str]  # "" where none is named

    @property
    def count(self) -> int:
        """N."""
        return len(self.chrom)

    def shown(self, row: int) -> str:
        """chrom:start-end."""
        return f"{self.chrom[row]}:{self.start[row]}-{self.end[row]}"

    def difference(self, other: "Regions") -> int | None:
        """The first row whose window is another one than in `other`, of as many rows; None if there is none."""
        same = (np.array(self.chrom) == np.array(other.chrom)) & (self.start == other.start) & (self.end == other.end)
        return None if same.all() else int(np.flatnonzero(~same)[0])


def read_regions(file: Path) -> Regions:
    """The rows of a regions.tsv.

    Raises:
      JaxepiError: a line that is none.
    """
    chroms, starts, ends, splits = [], [], [], []
    for number, line in read_lines(file, "a table of windows"):
        cells = line.split("\t")
        if number == 1 and tuple(cells[: len(COLUMNS)]) == COLUMNS:
            continue
        try:
            _, chrom, start, end, split, *_ = cells
            starts.append(int(start))
            ends.append(int(end))
        except ValueError:
            raise JaxepiError(f"{file} line {number} is no window: {', '.join(COLUMNS)} were expected.") from None
        chroms.append(chrom)
        splits.append(split)
    return Regions(chroms, np.array(starts, np.int64), np.array(ends, np.int64), splits)


def read_bed_windows(file: Path, prefix: str = "as-is") -> Regions:
    """The rows of a BED whose intervals have one length, such as sequences.bed of the Basenji programs.

    Args:
      file: BED, perhaps gzipped; its fourth column, if there is one, is the split.
      prefix: see `jaxepi.genome.chroms.harmonise`.

    Raises:
      JaxepiError: no row, a line that is no interval, or one of another length than the first.
    """
    rows = list(read_bed(file, prefix))
    if not rows:
        raise JaxepiError(f"{file} holds no window: lines with chromosome, start, end and split were expected.")
    length = rows[0].interval.length
    for row in rows:
        if row.interval.length != length:
            raise JaxepiError(
                f"{file} line {row.line} has {row.interval.length} bp where the first has {length}: windows of one "
                "length were expected."
            )
    starts, ends = (np.array([row.interval[place] for row in rows], np.int64) for place in (1, 2))
    splits = [row.further[0] if row.further else "" for row in rows]
    return Regions([row.interval.chrom for row in rows], starts, ends, splits)
