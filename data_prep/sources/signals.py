"""Signal along a genome from BigWig, BED or HDF5 files, read in large stretches: one value a base."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.sources.tracks import TrackFile, TrackReader, read_header
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise_all
from jaxepi.genome.intervals import Intervals
from jaxepi.genome.text_files import read_bed

_ENDINGS = {
    "bigwig": (".bw", ".bigwig"),
    "bed": (".bed", ".narrowpeak", ".broadpeak", ".bed.gz", ".narrowpeak.gz", ".broadpeak.gz"),
    "hdf5": (".h5", ".hdf5", ".w5", ".wdf5"),
}


def kind_of_signal(path: Path) -> str:
    """`bigwig`, `bed` or `hdf5`, by the ending of the name. Raises JaxepiError for another ending."""
    kind = next((kind for kind, endings in _ENDINGS.items() if path.name.lower().endswith(endings)), None)
    if kind is None:
        known = ", ".join(ending for endings in _ENDINGS.values() for ending in endings)
        raise JaxepiError(f"{path} has an unknown ending: a file of a track ends with one of {known}")
    return kind


class Signal(ABC):
    """A track of one file."""

    kind: str

    @abstractmethod
    def lengths(self) -> dict[str, int]:
        """Chromosome -> length where the file tells it (BED: the end of the last interval), harmonised names."""

    @abstractmethod
    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Values (end - start,) float32 of a stretch inside the chromosome; NaN: the file has no record there."""


class BigWigSignal(Signal):
    """As stored; a base without a record is NaN, and so is a chromosome that the file lacks."""

    kind = "bigwig"

    def __init__(self, track: TrackFile, prefix: str) -> None:
        self._track, self._prefix, self._reader = track, prefix, TrackReader([track], prefix)

    def lengths(self) -> dict[str, int]:
        header = read_header(self._track)
        return {name: header[own] for name, own in harmonise_all(list(header), self._prefix).items()}

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        return self._reader.read(0, chrom, start, end)


class BedSignal(Signal):
    """1 inside the intervals of the file, 0 elsewhere."""

    kind = "bed"

    def __init__(self, track: TrackFile, prefix: str) -> None:
        self._intervals = Intervals.of(row.interval for row in read_bed(track.path, prefix))
        if not len(self._intervals):
            raise JaxepiError(f"{track.path} holds no interval: the peaks of track {track.name!r} were expected")
        self._covered = {chrom: self._intervals.covered(chrom) for chrom in self._intervals.present}

    @property
    def intervals(self) -> Intervals:
        """As in the file."""
        return self._intervals

    def lengths(self) -> dict[str, int]:
        return {chrom: int(ends[-1]) for chrom, (_, ends) in self._covered.items()}

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        values = np.zeros(end - start, np.float32)
        starts, ends = self._covered.get(chrom, (np.empty(0, np.int64), np.empty(0, np.int64)))
        low, high = np.searchsorted(ends, start, "right"), np.searchsorted(starts, end)
        for first, last in zip(starts[low:high] - start, ends[low:high] - start, strict=True):
            values[max(first, 0) : last] = 1
        return values


class Hdf5Signal(Signal):
    """One dataset a chromosome; a chromosome that the file lacks is NaN. Infinite values become the largest float16."""

    kind = "hdf5"

    def __init__(self, track: TrackFile, prefix: str) -> None:
        try:
            import h5py
        except ImportError as error:
            raise JaxepiError(
                f"{track.path} is an HDF5 file and h5py is not installed: run pip install h5py"
            ) from error
        self._track = track
        try:
            self._file: Any = h5py.File(track.path, "r")
        except OSError as error:
            raise JaxepiError(f"{track.path} is truncated or not an HDF5 file: copy or make it again") from error
        self._names = harmonise_all(list(self._file), prefix)
        bad = next((own for own in self._names.values() if getattr(self._file[own], "ndim", 0) != 1), None)
        if bad is not None or not self._names:
            raise JaxepiError(
                f"{track.path} {'holds nothing' if bad is None else f'holds {bad!r}, which is no vector'}: one dataset "
                "a chromosome, a value a base, was expected"
            )

    def lengths(self) -> dict[str, int]:
        return {name: len(self._file[own]) for name, own in self._names.items()}

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        if chrom not in self._names:
            return np.full(end - start, np.nan, np.float32)
        try:
            values = self._file[self._names[chrom]][start:end]
        except OSError as error:
            raise JaxepiError(
                f"{self._track.path} cannot be read at {chrom}:{start}-{end}: the file is damaged, copy or make it "
                "again"
            ) from error
        largest = np.finfo(np.float16).max
        return np.clip(values.astype(np.float32), -largest, largest)


_CLASSES = {"bigwig": BigWigSignal, "bed": BedSignal, "hdf5": Hdf5Signal}


def open_signal(track: TrackFile, prefix: str = "as-is") -> Signal:
    """Opens the file of a track; `prefix` as in `jaxepi.genome.chroms.harmonise`.

    Raises:
        JaxepiError: it is missing, damaged or of an unknown kind.
    """
    return _CLASSES[kind_of_signal(track.path)](track, prefix)
