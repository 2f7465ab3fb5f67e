"""The labels of windows: sums of tracks over bins and over whole windows, with the conventions of CS282A or sound ones.

Letters: T bins of a window, K tracks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Tally
from data_prep.labels.mapping import REASONS, WHOLE, Geometry, Mapper
from data_prep.labels.track_table import CHROM, LabelTrack
from data_prep.sources.tracks import TrackFile, TrackReader
from jaxepi.errors import JaxepiError
from jaxepi.genome.window_table import Regions

LARGEST_LOG2 = 64.0  # beyond it a value is no logarithm
PAST_END = "past_end"  # a window that runs over the end of its contig in the other assembly


@dataclass(frozen=True)
class Summed:
    """Sums of the values of one file: per bin (T,) float64, NaN where masked, and over the window."""

    bins: np.ndarray
    window: float


class LabelWork:
    """Makes the labels of blocks of windows; safe to pickle, as blocks are made in other processes."""

    def __init__(
        self,
        tracks: Sequence[LabelTrack],
        paths: dict[str, Path],
        contigs: dict[str, dict[str, int]],
        regions: Regions,
        geometry: Geometry,
        mapper: Mapper | None,
        *,
        gap_log2: float = -2.0,
        parity: bool = False,
        prefix: str = "as-is",
    ):
        """Args:
        tracks: K of them.
        paths: file as the table names it, chromosome filled in -> its path.
        contigs: the same file -> lengths of its contigs, in the order of the file.
        regions: windows, crop included.
        geometry: of the bins.
        mapper: for tracks of another assembly.
        gap_log2: value of bases without a record in tracks of kind log2_sum.
        parity: 0 instead of NaN for what is missing, as the original writes it.
        prefix: of names of chromosomes, see `jaxepi.genome.chroms.harmonise`.
        """
        self.tracks, self.contigs, self.regions, self.geometry = tuple(tracks), contigs, regions, geometry
        self.mapper, self.gap_log2, self.parity = mapper, gap_log2, parity
        self._number = {name: number for number, name in enumerate(paths)}
        self._reader = TrackReader([TrackFile(name, path) for name, path in paths.items()], prefix)

    def make_block(self, block: Block) -> BlockResult:
        """Rows low to low + size: one entry (low, {bins (n, T, K), window (n, K), state}) float32, and counts."""
        rows = range(block.first_key, block.first_key + block.size)
        bins = np.empty((block.size, self.geometry.bins, len(self.tracks)), np.float32)
        window = np.empty((block.size, len(self.tracks)), np.float32)
        tally, states = Tally(), []
        for place, row in enumerate(rows):
            states.append(self._window(row, bins[place], window[place], tally))
        tally.add(
            windows=block.size,
            missing_bins=np.isnan(bins).sum((0, 1)),
            missing_windows=np.isnan(window).sum(0),
            **{state: states.count(state) for state in set(states)},
        )
        return BlockResult([(block.first_key, {"bins": bins, "window": window, "state": states})], tally)

    def _window(self, row: int, bins: np.ndarray, window: np.ndarray, tally: Tally) -> str:
        """Fills in the labels (T, K) and (K,) of a window; returns what became of its mapping."""
        chrom, start = self.regions.chrom[row], int(self.regions.start[row])
        own, lifted, state = self.geometry.starts(start), None, WHOLE
        if self.mapper is not None:
            mapped = self.mapper.map(chrom, start)
            lifted, state = mapped.starts, mapped.state
        over = np.zeros(len(self.tracks), np.int64)
        for k, track in enumerate(self.tracks):
            if track.lifted and state in REASONS:
                bins[:, k] = window[k] = 0.0 if self.parity else np.nan
                continue
            sums = [self._sum(track, file, chrom, lifted if track.lifted else own) for file in track.files]
            if np.isnan(sums[0].window):
                state = PAST_END
            bins[:, k], window[k] = self._labels(track, sums)
            if track.kind == "ratio":
                over[k] = (bins[:, k] > track.scale * (1 + 1e-6)).sum()
        tally.add(ratios_above_1=over)
        return state

    def _labels(self, track: LabelTrack, sums: Sequence[Summed]) -> tuple[np.ndarray, float]:
        """Scaled values per bin (T,) and of the window."""
        bins, window = sums[0].bins, sums[0].window
        if track.kind == "ratio":
            with np.errstate(invalid="ignore", divide="ignore"):
                bins, window = bins / sums[1].bins, np.float64(window) / sums[1].window
            if self.parity:
                bins, window = np.nan_to_num(bins), np.nan_to_num(window)
        elif track.kind == "log2_sum":
            window = window / self.geometry.bins
        return track.scale * bins, track.window_scale * window

    def _sum(self, track: LabelTrack, file: str, chrom: str, starts: np.ndarray) -> Summed:
        """Sums over bins that begin at `starts` (T,), -1 where a bin has no place."""
        name = file.replace(CHROM, chrom)
        contigs = self.contigs[name]
        contig = next(iter(contigs)) if track.lifted and self.parity else chrom
        width, count = self.geometry.bin_width, self.geometry.bins
        there = starts >= 0
        low, high = int(starts[there].min()), int(starts[there].max()) + width
        if track.lifted and self.parity and high >= contigs[contig]:
            return Summed(np.zeros(count), np.nan)  # as the original
        values = self._values(track, name, contig, low, high, contigs.get(contig, 0))
        if there.all() and high - low == self.geometry.length:
            bins = values.reshape(count, width).sum(1)
        else:
            reach = np.concatenate([[0.0], np.cumsum(values)])
            at = np.where(there, starts - low, 0)
            bins = np.where(there, reach[at + width] - reach[at], np.nan)
        # a window of which some bins have no place counts as if these were like the others
        return Summed(bins, float(bins[there].sum()) * count / int(there.sum()))

    def _values(self, track: LabelTrack, name: str, contig: str, low: int, high: int, length: int) -> np.ndarray:
        """What is summed at each base (high - low,) float64."""
        begin, end = min(max(low, 0), length), min(max(high, 0), length)
        values = np.full(high - low, np.nan)
        if begin < end:
            values[begin - low : end - low] = self._reader.read(self._number[name], contig, begin, end)
        if track.kind == "log2_sum":
            values[np.isnan(values)] = self.gap_log2
            if np.abs(values).max() > LARGEST_LOG2:
                self._refuse(name, contig, begin, end, "a logarithm of base 2 was expected, -64 to 64")
            return np.exp2(values)
        values[np.isnan(values)] = 0.0
        if values.min() < 0 or not np.isfinite(values).all():
            self._refuse(name, contig, begin, end, f"counts from 0 were expected for a track of kind {track.kind}")
        return values

    def _refuse(self, name: str, contig: str, begin: int, end: int, expected: str) -> None:
        path = self._reader.tracks[self._number[name]].path
        raise JaxepiError(f"{path} has a value at {contig}:{begin}-{end} that does not fit: {expected}")
