"""Predicted bins region by region: their agreement with what was measured, and curves of both.

Letters: M bins of a site, K written tracks, J measured ones, D drawn ones, P points of a curve.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from tqdm import tqdm

from jaxepi.analysis.bins.measured import Agreement, MeasuredTracks
from jaxepi.analysis.bins.places import Place
from jaxepi.analysis.bins.plan import BinPlan

MOST_POINTS = 3000  # of a curve: of more bins, means are drawn
MOST_PANELS = 8  # tracks of a plot
MOST_PLOTS = 24  # regions that are drawn


@dataclasses.dataclass
class Curves:
    """Means of neighbouring bins along a region, where bins are many.

    Attributes:
      start: first base of the first point; width: bp of one; each: bins of one.
      total: (P, 2, D) sums of predicted and measured bins; count: (P, 2, D) how many.
    """

    start: int
    width: int
    each: int
    total: np.ndarray
    count: np.ndarray

    @classmethod
    def over(cls, start: int, bins: int, bin_width: int, tracks: int) -> "Curves":
        """Without values yet."""
        each = -(-bins // MOST_POINTS)
        shape = (-(-bins // each), 2, tracks)
        return cls(start, each * bin_width, each, np.zeros(shape), np.zeros(shape, np.int64))

    def add(self, start: int, bin_width: int, values: np.ndarray) -> None:
        """Bins (M, 2, D) from a first base; NaN is left out."""
        point = (start - self.start + bin_width * np.arange(len(values))) // self.width
        known = np.isfinite(values)
        np.add.at(self.total, point, np.where(known, values, 0.0))
        np.add.at(self.count, point, known)

    @property
    def values(self) -> np.ndarray:
        """(P, 2, D), NaN where nothing is known."""
        return np.where(self.count > 0, self.total / np.maximum(self.count, 1), np.nan)


@dataclasses.dataclass
class Region:
    """What was found along a region.

    Attributes:
      place: what was asked for; chrom, start, end: the interval of its bins, as far as it lies in the chromosome.
      agreements: (J,) of the measured tracks.
      curves: None if it is not drawn.
    """

    place: Place
    chrom: str
    start: int
    end: int
    agreements: list[Agreement]
    curves: Curves | None


class Along:
    """The regions of a job, one after the other: memory holds a site, and the curves of a region.

    Attributes:
      drawn: numbers (D,) of the written tracks that plots show: the measured ones, else all, as far as there is room.
      plots: how many regions are drawn.
      measured: the measured tracks, or None.
      place_of: region of a number.
    """

    def __init__(
        self, plan: BinPlan, place_of: Callable[[int], Place], tracks: int, measured: MeasuredTracks | None, plots: bool
    ):
        """Args: `tracks`: K; `plots`: whether regions are drawn."""
        self._plan, self.place_of, self.measured = plan, place_of, measured
        self._shown = tuple(range(tracks)) if measured is None else measured.columns
        self.drawn = self._shown[:MOST_PANELS]
        self._regions = int(plan.region[-1]) + 1
        self.plots = min(self._regions, MOST_PLOTS) if plots else 0
        self._ends = np.searchsorted(plan.region, np.arange(self._regions + 1))

    def __len__(self) -> int:
        """Regions that are gone along: without measurements only those that are drawn."""
        return self.plots if self.measured is None else self._regions

    def notes(self) -> list[str]:
        """Sentences on what plots leave out."""
        told = []
        if self.plots and self.plots < self._regions:
            told.append(f"plots show the first {self.plots} of {self._regions:,} regions")
        if self.plots and len(self.drawn) < len(self._shown):
            told.append(f"plots show the first {len(self.drawn)} of {len(self._shown):,} tracks")
        return told

    def regions(self, values: np.ndarray, progress: bool) -> Iterator[Region]:
        """Each region, from the values (N, M, K) of all sites."""
        for number in tqdm(range(len(self)), unit="region", disable=not progress, desc="regions"):
            yield self._region(number, range(self._ends[number], self._ends[number + 1]), values)

    def _region(self, number: int, sites: range, values: np.ndarray) -> Region:
        plan, bins = self._plan, self._plan.bins
        starts, ends = plan.sites
        chrom, length = str(plan.chrom[sites[0]]), int(plan.lengths[sites[0]])
        first, last = int(starts[sites[0]]), int(ends[sites[-1]])
        curves = Curves.over(first, bins * len(sites), plan.bin, len(self.drawn)) if number < self.plots else None
        agreements = [Agreement() for _ in (() if self.measured is None else self.measured.columns)]
        for site in sites:
            start = int(starts[site])
            predicted = np.asarray(values[site], np.float64)
            shown = np.full((bins, 2, len(self.drawn)), np.nan)
            shown[:, 0] = predicted[:, list(self.drawn)]
            if self.measured is not None:
                found = self.measured.read(chrom, start, bins)
                for column, own, agreement in zip(self.measured.columns, found.T, agreements, strict=True):
                    agreement.add(predicted[:, column], own)
                shown[:, 1] = found[:, : len(self.drawn)]
            if curves is not None:
                low = start + plan.bin * np.arange(bins)
                shown[(low >= length) | (low + plan.bin <= 0)] = np.nan
                curves.add(start, plan.bin, shown)
        return Region(self.place_of(number), chrom, max(first, 0), min(last, length), agreements, curves)
