"""Predictions of a stretch of a genome, with the places of the values, and what models read along it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.bigwig import BaseSignal
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.task import Grid, Task


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


class PerBase:
    """Inputs with a value a base, such as conservation, read from BigWigs window by window; missing bases are 0."""

    def __init__(self, files: Mapping[str, str | os.PathLike[str]], task: Task, source: str, genome: Genome):
        """Opens the files; `files` are by the names in `task.per_base`, `source` is where the model comes from.

        Raises:
          JaxepiError: an input that the model does not read, or a file that is no BigWig of this genome.
        """
        for name in files:
            if name not in task.per_base:
                takes = f"takes {', '.join(task.per_base)}" if task.per_base else "takes nothing along the sequence"
                raise JaxepiError(f"{source} reads no {name!r}{did_you_mean(name, task.per_base)}: it {takes}.")
        self._task = task
        self._signals = {name: BaseSignal(path, genome, f"the BigWig of {name}") for name, path in files.items()}
        if files:  # only the task knows whether this model reads it
            window = np.zeros((1, task.window or 1), np.uint8)
            task.accept(window, **{name: window.astype(np.float32) for name in files})

    def read(self, chroms: Sequence[str], starts: Sequence[int]) -> dict[str, np.ndarray]:
        """Name -> values (B, L) float32 of windows, 0 where the file has no record or the chromosome ends."""
        length = self._task.window or 0
        found = {}
        for name, signal in self._signals.items():
            rows = [signal.read(chrom, start, start + length) for chrom, start in zip(chroms, starts, strict=True)]
            found[name] = np.nan_to_num(np.stack(rows), nan=0.0, posinf=0.0, neginf=0.0)
        return found

    def arguments(self) -> dict[str, str]:
        """What a job with other files would differ in."""
        return {name: signal.identity() for name, signal in self._signals.items()}

    def notes(self, chroms: Iterable[str]) -> list[str]:
        """Sentences on inputs that the model was trained with and does not get, or the other way round; and on windows
        (their chromosomes given) of which a file knows nothing."""
        chroms, told = list(chroms), []
        for name in self._task.per_base:
            trained, signal = bool(self._task.manifest.get(name)), self._signals.get(name)
            if trained and signal is None:
                told.append(f"the model was trained with {name} and predicts without it, as if it were 0 at every base")
            if signal is not None and not trained:
                told.append(f"the model was trained without {name}, which it is given now")
            if signal is not None and (count := signal.lacks(chroms)):
                told.append(f"windows on chromosomes that {signal.path} lacks, where {name} is 0: {count:,}")
        return told
