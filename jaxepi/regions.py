"""Predictions of a stretch of a genome, with the places of the values."""

from typing import Any, NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
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
    except (ValueError, AttributeError, TypeError) as problem:
        raise JaxepiError(
            f"{str(region)[:60]!r} is no region: expected chrom:start-end, 0-based, such as chr1:0-2000."
        ) from problem


def require_inside(region: Interval, genome: Genome) -> None:
    """Raises JaxepiError if a region does not lie in a genome."""
    genome.require([region.chrom], f"The region {region}")
    length = genome.lengths[region.chrom]
    if region.end > length:
        raise JaxepiError(f"The region {region} reaches beyond {region.chrom}, {length} bp in {genome.path}.")


def window_count(span: Any, window: int) -> Any:
    """How many windows regions of `span` bp take; a number or an array."""
    return np.maximum(1, -(-span // window))


def centred_start(start: Any, end: Any, window: int) -> Any:
    """First base of a window centred on a region, negative where it would leave the chromosome; numbers or arrays."""
    return (start + end) // 2 - window // 2


def window_start(region: Interval, length: int, window: int, number: int) -> int:
    """First base of a region's window of this number (from 0), on a chromosome of `length` bp.

    One window centred on a region that fits into it, moved inside the chromosome where it can be; else tiles side by
    side, the last one ending with the region.
    """
    if region.length <= window:
        return max(0, min(centred_start(region.start, region.end, window), length - window))
    return min(region.start + number * window, region.end - window)


def predicted_span(grid: Grid, window: int) -> int:
    """bp of a window of bins that have a prediction: all but the crop."""
    return grid.bin * grid.values(window)


def bin_window_start(start: Any, end: Any, number: Any, grid: Grid, window: int) -> Any:
    """First base of window `number` (from 0) over a region of a model of bins; numbers or arrays.

    One window centred on a region no longer than the predicted part of a window; else windows whose predicted parts lie
    side by side from the start of the region, so that all bins are of one raster and the last ones may lie behind the
    region. Windows are never moved: what leaves the chromosome is to be N.
    """
    span = predicted_span(grid, window)
    return np.where(end - start <= span, centred_start(start, end, window), start - grid.crop + number * span)


def window_starts(region: Interval, length: int, window: int, grid: Grid | None = None) -> np.ndarray:
    """First bases (W,) int64 of all windows over a region, see `window_start`, and of bins `bin_window_start`."""
    if grid is not None and grid.at == "bin":
        numbers = np.arange(window_count(region.length, predicted_span(grid, window)), dtype=np.int64)
        return bin_window_start(region.start, region.end, numbers, grid, window)
    numbers = range(int(window_count(region.length, window)))
    return np.array([window_start(region, length, window, number) for number in numbers], np.int64)


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
