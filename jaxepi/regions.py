"""Predictions of a stretch of a genome, with the places of the values."""

from typing import NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.task import Grid


class RegionValues(NamedTuple):
    """Predicted values of W windows over a region."""

    chrom: str
    starts: np.ndarray  # (W,) int64: first base of each window, 0-based
    positions: np.ndarray  # (W, P) int64: first base of what each value is of, 0-based
    values: np.ndarray  # (W, P, K) float32


def as_interval(region: str) -> Interval:
    """`chrom:start-end`, 0-based half-open.

    Raises:
      JaxepiError: it is none.
    """
    try:
        return parse_interval(region)
    except (ValueError, AttributeError) as problem:
        raise JaxepiError(
            f"{region!r} is no region: expected chrom:start-end, 0-based, such as chr1:0-2000."
        ) from problem


def window_starts(region: Interval, length: int, window: int) -> np.ndarray:
    """First bases (W,) int64 of windows over a region of a chromosome of `length` bp.

    One window centred on a region that fits into it, moved inside the chromosome where it can be; else tiles side by
    side, the last one ending with the region.
    """
    if region.length <= window:
        start = (region.start + region.end) // 2 - window // 2
        return np.array([max(0, min(start, length - window))], np.int64)
    starts = np.arange(region.start, region.end, window, dtype=np.int64)
    return np.minimum(starts, region.end - window)


def positions_of(starts: np.ndarray, grid: Grid, window: int) -> np.ndarray:
    """First bases (W, P) int64 of what the values of windows (W,) are of.

    Raises:
      JaxepiError: values are of pairs, which have two places.
    """
    if grid.at == "pair":
        raise JaxepiError("This model predicts pairs of bins, which have two places each: use predict on its window.")
    if grid.at == "site":
        return starts[:, None] + window // 2
    return starts[:, None] + grid.crop + grid.bin * np.arange(grid.values(window), dtype=np.int64)
