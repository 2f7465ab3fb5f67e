"""Bins of all tracks over all windows: each file is read once, in order of the genome, in large stretches.

The windows of a stretch are cut out and binned together; what is kept, float16 a bin, lies in a file a track, in the
order of the records. So memory holds one stretch, some windows and at most the bins of one track for each process.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data_prep.build.recipe import Block
from data_prep.build.runner import block_map
from data_prep.coverage.sequences import Sequences
from data_prep.coverage.targets import Target
from data_prep.coverage.transforms import LARGEST, Transform, baselines, interpolated, pooled, soft_clipped
from data_prep.sources.signals import Signal, open_signal
from data_prep.sources.tracks import TrackFile
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals

MISSING = ("zero", "baseline")
KEEP = "nan"  # of `Binning.missing`: a bin with a base without a record is NaN
COUNTS = ("missing", "blacklisted", "soft_clipped", "clipped", "beyond_float16", "nonzero")
BLACKLIST_MARGIN = 20  # bp by which a listed region grows on both sides
_PIECES = 64  # blocks of all tracks together, at most if there are fewer tracks: work for many processes
_PIECE_VALUES = 64 << 20  # that a block has at least, unless a track has fewer
_STRETCH = 4 << 20  # bases of one read, unless a window is longer
_WORTH_BRIDGING = 50_000  # bp between windows that are read rather than skipped
_WORTH_PROCESSES = 400 << 20  # values: a process reads as many while another starts
_BATCH = 4 << 20  # values of the windows that are binned together, unless one has more


@dataclass(frozen=True)
class Binning:
    """How a window becomes bins; see docs/data_prep.md for each."""

    bin_width: int
    transform: Transform = Transform()
    interpolate: bool = False
    missing: str = "zero"  # one of MISSING, or KEEP
    clip_pct: float = 0.9999999


@dataclass(frozen=True)
class TrackBins:
    """What one block made: counts (splits, COUNTS) of bins, and the largest values, for `clip_pct`."""

    target: int
    counts: np.ndarray  # (splits, COUNTS) int64
    largest: np.ndarray  # float16, descending


class Aggregator:
    """Makes the bins of one track over a part of the windows; safe to pickle."""

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Target],
        sequences: Sequences,
        binning: Binning,
        blacklist: Intervals,
        prefix: str = "as-is",
    ) -> None:
        """Args:
        folder: where the files of the tracks lie.
        targets: K tracks.
        sequences: N windows.
        binning: how.
        blacklist: regions, as in their file.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        """
        self.folder, self.targets, self.sequences, self.binning = folder, tuple(targets), sequences, binning
        self.blacklist, self._prefix = blacklist, prefix
        worth = max(len(sequences) * sequences.length // _PIECE_VALUES, 1)
        self._count = min(max(_PIECES // len(self.targets), 1), worth, len(sequences))
        self._signal: tuple[int, Signal] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_pieces"} | {"_signal": None}

    @property
    def bins(self) -> int:
        """T."""
        return self.sequences.length // self.binning.bin_width

    @property
    def top(self) -> int:
        """How many of the largest bins of a track decide where `clip_pct` cuts."""
        total = len(self.sequences) * self.bins
        return min(int((total - 1) * (1 - self.binning.clip_pct)) + 3, total)

    def blocks(self) -> list[Block]:
        """Every track, in one piece, or in several of few tracks; the pieces of a track follow each other."""
        sizes = [len(piece) for piece in self._pieces]
        return [
            Block(target * len(sizes) + i, size, (target, i))
            for target in range(len(self.targets))
            for i, size in enumerate(sizes)
        ]

    @cached_property
    def _pieces(self) -> list[np.ndarray]:
        """Numbers of windows in the order of the genome, in parts that are worth a process."""
        order = np.lexsort((self.sequences.start, self.sequences.chrom_id))
        return np.array_split(order, self._count)

    def make_block(self, block: Block) -> TrackBins:
        """Reads and writes a piece: windows in the order of the genome."""
        number, piece = block.payload
        target, windows = self.targets[number], self._pieces[piece]
        if self._signal is None or self._signal[0] != number:
            self._signal = number, open_signal(TrackFile(target.name, target.path), self._prefix)
        counts = np.zeros((len(self.sequences.splits), len(COUNTS)), np.int64)
        largest = np.empty(0, np.float16)
        made = np.empty((len(windows), self.bins), np.float16)
        done = 0
        for rows, values in self._windows(self._signal[1], windows):
            bins, found = self._bins(target, rows, values)
            np.add.at(counts, self.sequences.split_id[rows], found)
            sizes = np.abs(bins) if self.binning.transform.clip_magnitude else bins
            largest = _largest(np.concatenate([largest, sizes[~np.isnan(sizes)]]), self.top)
            made[done : done + len(rows)] = bins
            done += len(rows)
        _write_rows(self.folder / f"{number}.bins", windows, made)
        return TrackBins(number, counts, largest)

    def _windows(self, signal: Signal, windows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers (n,) of windows and their values (n, L), a batch at a time."""
        sequences, length = self.sequences, self.sequences.length
        per_batch = max(_BATCH // length, 1)
        for group in self._stretches(windows):
            chrom, low = sequences.chroms[sequences.chrom_id[group[0]]], int(sequences.start[group[0]])
            stretch = signal.read(chrom, low, int(sequences.start[group[-1]]) + length)
            cut = np.lib.stride_tricks.sliding_window_view(stretch, length)
            for first in range(0, len(group), per_batch):
                rows = group[first : first + per_batch]
                yield rows, cut[sequences.start[rows] - low]

    def _stretches(self, windows: np.ndarray) -> Iterator[np.ndarray]:
        """Groups of neighbouring windows that one read covers."""
        sequences, length = self.sequences, self.sequences.length
        chrom, start = sequences.chrom_id[windows], sequences.start[windows]
        first = 0
        for i in range(1, len(windows) + 1):
            if (
                i == len(windows)
                or chrom[i] != chrom[first]
                or start[i] - start[i - 1] - length > _WORTH_BRIDGING
                or start[i] + length - start[first] > max(_STRETCH, length)
            ):
                yield windows[first:i]
                first = i

    def _bins(self, target: Target, rows: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bins (n, T) float16 of windows with the values (n, L), and counts (n, COUNTS) of bins."""
        how, width = self.binning.transform, self.binning.bin_width
        with np.errstate(over="ignore"):  # values beyond float16 become infinite there, as in the original
            values = values.astype(how.dtype, copy=False)
        counts = np.zeros((len(rows), len(COUNTS)), np.int64)
        missing = np.isnan(values)
        spoiled = np.zeros((len(rows), self.bins), bool)
        if has_missing := bool(missing.any()):
            spoiled = missing.reshape(len(rows), -1, width).any(axis=2)
            counts[:, 0] = spoiled.sum(axis=1)
        if self.binning.interpolate and (has_missing or how.interpolate_to_zero):
            values, has_missing = interpolated(values, how.interpolate_to_zero), False
        values = self._settled(rows, values, missing if has_missing else None, counts)
        with np.errstate(invalid="ignore", over="ignore"):
            if how.scale_first and target.scale != 1 and not (how.scale_repeats and target.sum_stat != "sum"):
                values = values * target.scale
            bins = pooled(values.reshape(len(rows), -1, width), target.sum_stat, how.root)
            if target.clip_soft is not None:
                counts[:, 2] = (bins > target.clip_soft).sum(axis=1)
                bins = soft_clipped(bins, target.clip_soft, how.soft_offset)
            if target.clip is not None:
                free, bins = bins, np.clip(bins, -target.clip if how.symmetric else 0, target.clip)
                counts[:, 3] = (np.nan_to_num(free) != np.nan_to_num(bins)).sum(axis=1)
            if not how.scale_first:
                bins = bins * target.scale
            counts[:, 4] = (np.abs(bins) > LARGEST).sum(axis=1)
            bins = np.clip(bins, -LARGEST, LARGEST).astype(np.float16)
        counts[:, 5] = (np.nan_to_num(bins) != 0).sum(axis=1)
        if (np.isnan(bins) & ~(spoiled & (self.binning.missing == KEEP))).any():
            raise JaxepiError(
                f"{target.path} gives bins that are no number with the sum_stat {target.sum_stat} (negative values "
                "have no root): use another sum_stat, or mend the track"
            )
        return bins, counts

    def _settled(
        self, rows: np.ndarray, values: np.ndarray, missing: np.ndarray | None, counts: np.ndarray
    ) -> np.ndarray:
        """Values without missing ones, and within the baseline where blacklisted; counts the latter."""
        how, width = self.binning.transform, self.binning.bin_width
        listed, keep = self._blacklisted(rows), self.binning.missing == KEEP
        if missing is not None and not how.missing_spoils and self.binning.missing == "zero":
            values, missing = np.where(missing, values.dtype.type(0), values), None
        needed = np.zeros(len(rows), bool)
        needed[list(listed)] = True
        if missing is not None and not keep:
            needed |= missing.any(axis=1)
        base = np.zeros(len(rows), values.dtype)
        if needed.any():
            base[needed] = baselines(values[needed], how, self.bins)
        for row, spans in listed.items():
            mark = np.zeros(values.shape[1], bool)
            for start, end in spans:
                mark[start:end] = True
            counts[row, 1] = mark.reshape(-1, width).any(axis=1).sum()
            inside = np.clip(values[row, mark], -base[row], base[row])
            values[row, mark] = base[row] if how.blacklist == "set" else inside
        return values if missing is None or keep else np.where(missing, base[:, None], values)

    def _blacklisted(self, rows: np.ndarray) -> dict[int, list[tuple[int, int]]]:
        """Place among the rows -> stretches of its window that are listed, as Python slices them."""
        if not len(self.blacklist):
            return {}
        wraps, length = self.binning.transform.slices_wrap, self.sequences.length
        found: dict[int, list[tuple[int, int]]] = {}
        start = self.sequences.start[rows]
        chrom = self.sequences.chroms[self.sequences.chrom_id[rows[0]]]
        own = self.blacklist.chrom_id == _place(self.blacklist.chroms, chrom)
        low = np.maximum(self.blacklist.start[own] - BLACKLIST_MARGIN, 0)
        high = self.blacklist.end[own] + BLACKLIST_MARGIN
        near = (high > start.min()) & (low < start.max() + length)
        for first, last in zip(low[near].tolist(), high[near].tolist(), strict=True):
            for row in np.flatnonzero((last > start) & (first < start + length)).tolist():
                begin, end = int(first - start[row]), int(last - start[row])
                found.setdefault(row, []).append((begin if wraps else max(begin, 0), end))
        return found


def _write_rows(path: Path, numbers: np.ndarray, rows: np.ndarray) -> None:
    """Writes rows (n, T) to their places in a file, those that follow each other at once."""
    order = np.argsort(numbers)
    runs = np.split(order, np.flatnonzero(np.diff(numbers[order]) != 1) + 1)
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        for run in runs:
            data = memoryview(rows[run]).cast("B")
            place = int(numbers[run[0]]) * rows[0].nbytes
            while data:  # a write may take only a part
                written = os.pwrite(file, data, place)
                data, place = data[written:], place + written
    finally:
        os.close(file)


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -1


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest values, descending."""
    if len(values) > count:
        values = np.partition(values, len(values) - count)[-count:]
    return np.sort(values)[::-1]


class BinStore:
    """Bins of K tracks over N windows on disk; safe to pickle.

    Attributes:
        limits: (K,) float16, what `clip_pct` cuts each track to.
        counts: (splits, COUNTS, K) bins.
    """

    def __init__(self, folder: Path, bins: int, limits: np.ndarray, counts: np.ndarray) -> None:
        self.folder, self.bins, self.limits, self.counts = folder, bins, limits, counts

    def read(self, first: int, count: int) -> np.ndarray:
        """Bins (count, T, K) float16 of windows that follow each other."""
        targets = np.empty((count, self.bins, len(self.limits)), np.float16)
        for track, limit in enumerate(self.limits):
            row = 2 * self.bins
            with (self.folder / f"{track}.bins").open("rb", buffering=0) as file:
                held = os.pread(file.fileno(), count * row, first * row)
            targets[:, :, track] = np.clip(np.frombuffer(held, np.float16).reshape(count, -1), -limit, limit)
        return targets


def aggregate(aggregator: Aggregator, processes: int, progress: bool) -> BinStore:
    """Reads every track into the folder of the aggregator.

    Raises:
        JaxepiError: a file that cannot be read.
    """
    from tqdm import tqdm

    blocks = aggregator.blocks()
    tracks, splits = len(aggregator.targets), len(aggregator.sequences.splits)
    counts = np.zeros((splits, len(COUNTS), tracks), np.int64)
    limits = np.empty(tracks, np.float16)
    largest = np.empty(0, np.float16)
    windows = len(aggregator.sequences)
    worth = windows * aggregator.sequences.length * tracks > _WORTH_PROCESSES
    with block_map(aggregator, min(processes, len(blocks)) if worth else 1) as mapped:
        bar = tqdm(total=windows * tracks, desc="tracks", unit=" windows", unit_scale=True, disable=not progress)
        current = 0
        for block, made in zip(blocks, mapped(blocks), strict=True):
            if made.target != current:
                current, largest = made.target, np.empty(0, np.float16)
            counts[:, :, made.target] += made.counts
            largest = _largest(np.concatenate([largest, made.largest]), aggregator.top)
            limits[made.target] = _limit(largest, windows * aggregator.bins, aggregator.binning.clip_pct)
            bar.update(block.size)
        bar.close()
    return BinStore(aggregator.folder, aggregator.bins, limits, counts)


def _limit(largest: np.ndarray, total: int, share: float) -> np.float16:
    """The quantile of `total` values whose largest ones are given, descending; interpolated linearly.

    0 where there is none, as of a track that no bin has a number of.
    """
    if not len(largest):
        return np.float16(0)
    place = (total - 1) * (1 - share)  # from the top
    low = min(int(place), len(largest) - 1)
    above, below = float(largest[low]), float(largest[min(low + 1, len(largest) - 1)])
    return np.float16(max(above - (above - below) * (place - low), 0.0))


def track_counts(store: BinStore, split: int) -> Mapping[str, list[int]]:
    """Counts of the bins of a split, (K,) each, by what happened to them."""
    return {f"bins_{name}": store.counts[split, i].tolist() for i, name in enumerate(COUNTS)}
