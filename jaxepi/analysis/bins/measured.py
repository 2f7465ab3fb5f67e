"""Measured signal beside predicted bins: BigWigs binned alike, and how well the two agree in a region.

Letters: M bins of a site, J measured tracks.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.analysis.predict import select_tracks
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.bigwig import BaseSignal
from jaxepi.genome.fasta import Genome

STATS = ("mean", "sum")

Files = Mapping[str, str | os.PathLike[str]] | Sequence[str | os.PathLike[str]]


class MeasuredTracks:
    """BigWigs of some of the written tracks.

    Attributes:
      columns: (J,) number among the written tracks of each; names: of these tracks.
      stat: of `STATS`, what makes a bin of its bases.
      unrecorded: bins read so far in which the file of their track has no record at all.
    """

    def __init__(self, files: Files, tracks: Sequence[str], stat: str, genome: Genome, plan: BinPlan):
        """Args: `files`: track -> file, or one file for each of `tracks`, in their order.

        Raises:
          JaxepiError: files that do not fit the tracks, are no BigWigs of this genome, or lack a chromosome.
        """
        if stat not in STATS:
            raise JaxepiError(f"measured_stat is {stat!r}{did_you_mean(stat, STATS)}, but must be one of {STATS}.")
        chosen = _by_column(files, tracks)
        self.columns, self.stat = tuple(chosen), stat
        self.names = [tracks[column] for column in chosen]
        self._signals = [
            BaseSignal(path, genome, f"the BigWig of the measured track {tracks[column]!r}")
            for column, path in chosen.items()
        ]
        self._lengths, self._bin = genome.lengths, plan.bin
        for signal in self._signals:
            lacking = sorted(signal.lacking.intersection(plan.chrom.tolist()))
            if lacking:
                raise JaxepiError(
                    f"{signal.path} has no chromosome {lacking[0]!r}, of which regions are predicted: leave these out, "
                    "or give a file that has it."
                )
        self.unrecorded = 0

    def read(self, chrom: str, start: int, bins: int) -> np.ndarray:
        """Bins (M, J) float64 from a first base; NaN where one is not wholly inside its chromosome.

        A base without a record counts as 0, as data preparation takes it.
        """
        edges = start + self._bin * np.arange(bins + 1)
        outside = (edges[:-1] < 0) | (edges[1:] > self._lengths[chrom])
        made = np.empty((bins, len(self._signals)))
        for number, signal in enumerate(self._signals):
            bases = signal.read(chrom, start, int(edges[-1])).reshape(bins, self._bin)
            self.unrecorded += int((np.isnan(bases).all(axis=1) & ~outside).sum())
            sums = np.nansum(bases, axis=1, dtype=np.float64)
            made[:, number] = sums / self._bin if self.stat == "mean" else sums
        made[outside] = np.nan
        return made

    def arguments(self) -> dict[str, Any]:
        """What a job with other measurements would differ in."""
        return {
            "stat": self.stat,
            "files": {name: own.identity() for name, own in zip(self.names, self._signals, strict=True)},
        }

    def notes(self) -> list[str]:
        """Sentences on what was counted."""
        told = f"measured bins without any record in their file, which count as 0: {self.unrecorded:,}"
        return [told] * bool(self.unrecorded)


def _by_column(files: Files, tracks: Sequence[str]) -> dict[int, str | os.PathLike[str]]:
    """Number of a written track -> its file."""
    if not isinstance(files, Mapping):
        if len(files) != len(tracks):
            some = ", ".join(tracks[:5]) + (" ..." if len(tracks) > 5 else "")
            raise JaxepiError(
                f"There are {len(files)} measured file(s) for {len(tracks)} written track(s) ({some}): give one for "
                "each in this order, or name them as name=path."
            )
        return dict(enumerate(files))
    chosen: dict[int, str | os.PathLike[str]] = {}
    for name, path in files.items():
        (column,) = select_tracks(tracks, [name])
        if column in chosen:
            raise JaxepiError(f"The track {tracks[column]!r} has two measured files, {chosen[column]} and {path}.")
        chosen[column] = path
    return chosen


@dataclasses.dataclass
class Correlation:
    """Pearson correlation of pairs that come in parts; sums about means, so that far-away means cost no digits."""

    count: int = 0
    mean: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))
    products: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((2, 2)))
    low: np.ndarray = dataclasses.field(default_factory=lambda: np.full(2, np.inf))
    high: np.ndarray = dataclasses.field(default_factory=lambda: np.full(2, -np.inf))

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Pairs (M,) float64; those in which one is not finite are left out."""
        pairs = np.stack([x, y])[:, np.isfinite(x) & np.isfinite(y)]
        count = pairs.shape[1]
        if not count:
            return
        mean = pairs.mean(axis=1)
        about = pairs - mean[:, None]
        apart, both = mean - self.mean, self.count + count
        self.products += about @ about.T + np.outer(apart, apart) * (self.count * count / both)
        self.mean += apart * (count / both)
        self.low, self.high = np.minimum(self.low, pairs.min(axis=1)), np.maximum(self.high, pairs.max(axis=1))
        self.count = both

    @property
    def value(self) -> float:
        """r; NaN of less than two pairs, or where one side has no spread."""
        if self.count < 2 or (self.low == self.high).any():
            return float("nan")
        return float(self.products[0, 1] / np.sqrt(self.products[0, 0] * self.products[1, 1]))


@dataclasses.dataclass
class Agreement:
    """How a predicted track agrees with the measured one in a region.

    Attributes:
      raw, log2: correlation of the values x, and of log2(1 + x).
      unlogged: bins of which one value is -1 or less, which have no such logarithm.
    """

    raw: Correlation = dataclasses.field(default_factory=Correlation)
    log2: Correlation = dataclasses.field(default_factory=Correlation)
    unlogged: int = 0

    def add(self, predicted: np.ndarray, measured: np.ndarray) -> None:
        """Bins (M,) float64 of both."""
        self.raw.add(predicted, measured)
        self.log2.add(log2_of(predicted), log2_of(measured))
        self.unlogged += int(((predicted <= -1) | (measured <= -1)).sum())


def log2_of(values: np.ndarray) -> np.ndarray:
    """log2(1 + x); NaN of -1 and less."""
    return np.log2(1 + np.where(values > -1, values, np.nan))
