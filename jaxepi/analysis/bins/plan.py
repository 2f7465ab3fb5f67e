"""Which windows a model of bins must see to predict the regions of a BED, and which bins of each are written.

A site is what is written of one window: some bins in a row. Letters: L base pairs of a window, T its predicted bins, M
bins of a site, N sites.
"""

from collections.abc import Mapping

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals
from jaxepi.regions import bin_window_start, predicted_span, window_count
from jaxepi.task import Grid


class BinPlan:
    """All windows of a job as columns, in the order of the regions.

    Without `site_length`, a site is the whole predicted part of a window, and regions longer than that are tiled by
    several, see `jaxepi.regions.bin_window_start`. With it, each region is one site in the middle of one window, the
    M = site_length / bin bins around bin T // 2, as in the original basenji_predict_bed.py.

    Attributes:
      regions: what they are laid over.
      chrom: (N,) names of contigs; lengths: (N,) int64 of these contigs.
      start: (N,) int64 first base of each window; region: (N,) number of its region, ascending from 0.
      first, bins: the sites are bins `first` to `first` + `bins` of a window.
      bin: bp of one.
    """

    def __init__(
        self,
        regions: Intervals,
        lengths: Mapping[str, int],
        grid: Grid,
        window: int,
        site_length: int | None = None,
        tiled: bool = True,
    ):
        """Args: `lengths` of the contigs; `tiled`: whether a long region gets several windows.

        Raises:
          JaxepiError: the site length is no number of bins that a window has.
        """
        self.regions = regions
        span = predicted_span(grid, window)
        if site_length is not None and (site_length % grid.bin or not 0 < site_length <= span):
            raise JaxepiError(
                f"The site length is {site_length} bp, but this model predicts {grid.values(window)} bins of "
                f"{grid.bin} bp, so that a multiple of {grid.bin} from {grid.bin} to {span} was expected."
            )
        long = regions.end - regions.start > (span if site_length is None else site_length)
        several = tiled and site_length is None
        counts = window_count(regions.end - regions.start, span) if several else np.ones(len(regions), np.int64)
        self.region = np.repeat(np.arange(len(regions)), counts)
        number = np.arange(len(self.region)) - np.repeat(np.cumsum(counts) - counts, counts)
        start, end = regions.start[self.region], regions.end[self.region]
        if not several:  # one window on the middle of each, whatever its length
            start = end = (start + end) // 2
        self.start = bin_window_start(start, end, number, grid, window)
        names = np.array(regions.chroms)
        self.chrom = names[regions.chrom_id[self.region]]
        self.bin, self.window = grid.bin, window
        values = grid.values(window)
        self.bins = values if site_length is None else site_length // grid.bin
        self.first = values // 2 - self.bins // 2
        self._offset = grid.crop + grid.bin * self.first
        self.lengths = np.array([lengths[name] for name in regions.chroms], np.int64)[regions.chrom_id[self.region]]
        self._cut = 0 if several else int(long.sum())

    def __len__(self) -> int:
        return len(self.start)

    @property
    def sites(self) -> tuple[np.ndarray, np.ndarray]:
        """First base and end (N,) int64 of every site, which may lie outside the contig, where the window holds N."""
        start = self.start + self._offset
        return start, start + self.bin * self.bins

    def notes(self) -> list[str]:
        """Sentences on what could not be as one may expect."""
        start, end = self.sites
        filled = int(((self.start < 0) | (self.start + self.window > self.lengths)).sum())
        beyond = int(((start < 0) | (end > self.lengths)).sum())
        told = [
            (self._cut, f"regions longer than their site of {self.bin * self.bins} bp, whose ends are left out"),
            (filled, "windows that leave their chromosome and are filled with N"),
            (beyond, "sites of which some bins lie outside their chromosome"),
        ]
        return [f"{what}: {count}" for count, what in told if count]
