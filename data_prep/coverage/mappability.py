"""Which bins of windows are unmappable, from a BED file of unmappable regions."""

import numpy as np

from data_prep.coverage.sequences import Sequences
from jaxepi.genome.intervals import Intervals

MINOR = 0.1  # share of a bin: a smaller overlap with its first or last bin does not count


def unmappable_bins(sequences: Sequences, regions: Intervals, bin_width: int) -> np.ndarray:
    """Bins of N windows that a region touches by more than a tenth of a bin: (N, T) bool.

    Regions count one by one, as in the original: two that overlap are not joined first.
    """
    count, length = len(sequences), sequences.length
    bins = length // bin_width
    steps = np.zeros((count, bins + 1), np.int32)
    for number, chrom in enumerate(sequences.chroms):
        own = np.flatnonzero(sequences.chrom_id == number)
        if chrom not in regions.chroms or not len(own):
            continue
        of_chrom = regions.chrom_id == regions.chroms.index(chrom)
        own = own[np.argsort(sequences.start[own], kind="stable")]
        window, start, end = _pairs(sequences.start[own], length, regions.start[of_chrom], regions.end[of_chrom])
        first = start // bin_width
        last = -(-end // bin_width)
        first = first + ((first + 1) * bin_width - start < MINOR * bin_width)
        last = last - (end - (last - 1) * bin_width < MINOR * bin_width)
        kept = last > first
        np.add.at(steps, (own[window[kept]], first[kept]), 1)
        np.add.at(steps, (own[window[kept]], last[kept]), -1)
    return np.cumsum(steps[:, :-1], axis=1) > 0


def _pairs(
    windows: np.ndarray, length: int, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every window (ascending starts) with every region that it touches: its number, and the common part within it."""
    low = np.searchsorted(windows, starts - length, "right")
    many = np.maximum(np.searchsorted(windows, ends, "left") - low, 0)
    region = np.repeat(np.arange(len(starts)), many)
    window = np.arange(len(region)) - np.repeat(np.cumsum(many) - many - low, many)
    start = np.maximum(starts[region] - windows[window], 0)
    return window, start, np.minimum(ends[region] - windows[window], length)
