"""Which bins of a window lie in a peak: labels from BED or narrowPeak files, a file a track.

Letters: T bins, K tracks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.sources.regions import check_inside
from jaxepi.genome.intervals import Intervals
from jaxepi.genome.text_files import read_bed

PEAK_BINS = ("overlap", "original")


def bins_of(window: int, start: int, end: int, width: int, how: str) -> tuple[int, int]:
    """First bin of a peak and the one after its last, counted from the first base of a window.

    Args:
        window: first base of the window.
        start: of the peak.
        end: of the peak, exclusive.
        width: of a bin, bp.
        how: `overlap`: the bins that share a base with it, none below 0. `original`: Epiformer's arithmetic, for which
            a peak that begins before the window has a negative first bin, and one that ends with a bin has the next
            one too.
    """
    first, last = (start - window) // width, (end - window) // width
    if how == "original":
        return first, last + 1
    return max(first, 0), -((window - end) // width)


class PeakLabels:
    """The peaks of K tracks; safe to pickle."""

    def __init__(
        self, paths: Sequence[Path | None], lengths: Mapping[str, int], prefix: str = "as-is", how: str = "overlap"
    ) -> None:
        """Reads the files.

        Args:
            paths: of each track; None: it has no peaks, and no bin is labelled.
            lengths: of the genome's chromosomes, by their harmonised names.
            prefix: see `jaxepi.genome.chroms.harmonise`.
            how: see `bins_of`.

        Raises:
            JaxepiError: a file without a peak, of another genome, or with a line that is none.
        """
        self.how = how
        self.elsewhere: dict[Path, int] = {}  # peaks on chromosomes that the genome lacks
        self._peaks: list[dict[str, tuple[np.ndarray, np.ndarray, int]]] = []
        for path in paths:
            own: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}
            if path is not None:
                rows = Intervals.of(row.interval for row in read_bed(path, prefix))
                self.elsewhere[path] = check_inside(path, rows, lengths)
                for number, chrom in enumerate(rows.chroms):
                    of_chrom = np.flatnonzero(rows.chrom_id == number)
                    of_chrom = of_chrom[np.argsort(rows.start[of_chrom], kind="stable")]
                    start, end = rows.start[of_chrom], rows.end[of_chrom]
                    own[chrom] = start, end, int((end - start).max())
            self._peaks.append(own)

    def labels(self, chrom: str, start: int, bins: int, width: int) -> np.ndarray:
        """1 where a bin lies in a peak, else 0: (T, K) uint8.

        Args:
            chrom: of the window.
            start: first base of the first bin.
            bins: T.
            width: of a bin, bp.
        """
        labels = np.zeros((bins, len(self._peaks)), np.uint8)
        stop = start + bins * width
        for track, peaks in enumerate(self._peaks):
            if chrom not in peaks:
                continue
            starts, ends, longest = peaks[chrom]
            low, high = np.searchsorted(starts, start - longest, "right"), np.searchsorted(starts, stop)
            for first, last in zip(starts[low:high].tolist(), ends[low:high].tolist(), strict=True):
                if last > start:
                    begin, end = bins_of(start, first, last, width, self.how)
                    labels[begin:end, track] = 1  # a negative first bin counts from the end, as in the original
        return labels
