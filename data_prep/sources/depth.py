"""Read depth per base of histone marks, from BAM files (counted) or BigWig files (as stored, 0 where no record is)."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.sources.tracks import TrackFile, TrackReader, read_header
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise_all

READ_MODES = ("primary", "all")
_BAM_ENDING = ".bam"
# Secondary, failed quality checks, duplicate, supplementary.
_NOT_PRIMARY = 0x100 | 0x200 | 0x400 | 0x800


class BigWigDepth:
    """Depth from a BigWig file."""

    def __init__(self, track: TrackFile, prefix: str = "as-is") -> None:
        self._track, self._reader = track, TrackReader([track], prefix)

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Depth (end - start,) float32 inside the chromosome. Raises JaxepiError for negative values."""
        depth = np.nan_to_num(self._reader.read(0, chrom, start, end), copy=False, nan=0.0)
        if depth.min(initial=0) < 0 or not np.isfinite(depth).all():
            raise JaxepiError(
                f"{self._track.path} has values below 0 or not finite at {chrom}:{start}-{end}: read depth was "
                "expected, not a ratio or its logarithm"
            )
        return depth


class BamDepth:
    """Depth from a sorted, indexed BAM file: how many alignments cover a base, gaps inside an alignment included."""

    def __init__(self, track: TrackFile, prefix: str = "as-is", reads: str = "primary") -> None:
        """Args:
        track: name and file.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        reads: `all` counts every mapped alignment, as the original does; `primary` leaves out secondary,
            supplementary, duplicate and failed ones.
        """
        self._track, self._prefix = track, prefix
        self._left_out = 0 if reads == "all" else _NOT_PRIMARY
        self._file: Any = None
        self._names: dict[str, str] = {}
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_pid": -1}

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Depth (end - start,) float32 inside the chromosome."""
        if self._pid != os.getpid():
            self._file = _open_bam(self._track)
            self._names = harmonise_all(list(self._file.references), self._prefix)
            self._pid = os.getpid()
        left_out = self._left_out
        try:
            spans = [
                (read.reference_start, read.reference_end)
                for read in self._file.fetch(self._names[chrom], start, end)
                if not read.flag & left_out and read.reference_end is not None
            ]
        except (OSError, ValueError) as error:
            raise JaxepiError(
                f"{self._track.path} cannot be read at {chrom}:{start}-{end} ({error}): copy the file and its index "
                "again"
            ) from error
        steps = np.zeros(end - start + 1, np.int64)
        if spans:
            ends = np.clip(np.array(spans, np.int64) - start, 0, end - start)
            np.add.at(steps, ends[:, 0], 1)
            np.add.at(steps, ends[:, 1], -1)
        return np.cumsum(steps[:-1]).astype(np.float32)


def _open_bam(track: TrackFile) -> Any:
    try:
        import pysam
    except ImportError as error:
        raise JaxepiError(f"{track.path} is a BAM file and pysam is not installed: run pip install pysam") from error
    pysam.set_verbosity(0)  # its messages would stand beside ours
    try:
        file = pysam.AlignmentFile(str(track.path), "rb")
    except (OSError, ValueError) as error:
        raise JaxepiError(f"{track.path} is truncated or not a BAM file: copy or make it again") from error
    if not file.has_index():
        raise JaxepiError(f"{track.path} has no index: run samtools sort and samtools index")
    return file


def is_bam(path: Path) -> bool:
    """By the ending of its name."""
    return path.name.lower().endswith(_BAM_ENDING)


def depth_chromosomes(track: TrackFile) -> dict[str, int]:
    """Chromosome lengths that a BAM or BigWig file states, with its own names."""
    if not is_bam(track.path):
        return read_header(track)
    if not track.path.exists():
        raise JaxepiError(f"{track.path} does not exist: the BAM or BigWig file of {track.name!r} was expected")
    with _open_bam(track) as file:
        return dict(zip(file.references, file.lengths, strict=True))
