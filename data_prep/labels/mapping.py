"""Where the bins of a window lie in another assembly, bin by bin, or by the start alone as CS282A has it."""

from dataclasses import dataclass

import numpy as np

from data_prep.labels.chains import Chains

LIFTS = ("bins", "parity")
WHOLE = "whole"  # a window whose mapping is used
# why the tracks of another assembly are left out in a window
REASONS = {
    "unmapped": "too few of its bins have a place",
    "chromosome": "most of it lies on another chromosome",
    "strand": "most of it lies on the other strand",
    "length": "its parts move against each other",
}
_OUTLIERS = 0.05  # share of bins away from the others that are single bins elsewhere, not a window of another length


@dataclass(frozen=True)
class Geometry:
    """The predicted part of a window: T bins of `bin_width` bp after `crop` bp."""

    crop: int
    bin_width: int
    bins: int

    @property
    def length(self) -> int:
        """bp of all bins."""
        return self.bins * self.bin_width

    def starts(self, window_start: int) -> np.ndarray:
        """First bases (T,) int64 of the bins."""
        return window_start + self.crop + self.bin_width * np.arange(self.bins, dtype=np.int64)


@dataclass(frozen=True)
class Mapped:
    """A window in the target assembly: `WHOLE` or a reason, and the first base of each bin (T,), -1 without a place."""

    state: str
    starts: np.ndarray


@dataclass(frozen=True)
class Mapper:
    """Lifts windows.

    Attributes:
      chains: from the assembly of the windows to that of the tracks.
      geometry: of the bins.
      lift: `bins` lifts each bin and leaves out what is not the same stretch there; `parity` lifts the first base only.
      length_change: share of the window by which its bins may move against each other.
      least_mapped: share of the bins that must have a place.
    """

    chains: Chains
    geometry: Geometry
    lift: str = "bins"
    length_change: float = 0.02
    least_mapped: float = 0.5

    def map(self, chrom: str, window_start: int) -> Mapped:
        """One window, `window_start` being its first base, crop included."""
        return self._by_start(chrom, window_start) if self.lift == "parity" else self._by_bins(chrom, window_start)

    def _by_start(self, chrom: str, window_start: int) -> Mapped:
        """The original: neither chromosome nor strand is looked at, and the window always extends to the right."""
        first = self.chains.lift(chrom, np.array([window_start + self.geometry.crop]))
        if not first.mapped[0]:
            return self._nowhere("unmapped")
        begin = int(first.position[0]) - self.geometry.crop
        return Mapped(WHOLE, self.geometry.starts(begin))

    def _by_bins(self, chrom: str, window_start: int) -> Mapped:
        source = self.geometry.starts(window_start)
        first = self.chains.lift(chrom, source)
        last = self.chains.lift(chrom, source + self.geometry.bin_width - 1)
        step = np.where(first.reverse, -1, 1) * (self.geometry.bin_width - 1)
        same = first.mapped & last.mapped & (first.chrom == last.chrom) & (first.reverse == last.reverse)
        same &= last.position - first.position == step
        if same.sum() < self.least_mapped * len(same) or not same.any():
            return self._nowhere("unmapped")
        place = 2 * first.chrom + first.reverse
        most = np.bincount(place[same]).argmax()
        same &= place == most
        if self.chains.targets[most // 2] != chrom:
            return self._nowhere("chromosome")
        if most % 2:
            return self._nowhere("strand")
        moved = np.abs(first.position - source - np.median((first.position - source)[same]))
        away = same & (moved > self.length_change * self.geometry.length)
        if away.sum() > _OUTLIERS * same.sum():
            return self._nowhere("length")
        same &= ~away
        if same.sum() < self.least_mapped * len(same):
            return self._nowhere("unmapped")
        return Mapped(WHOLE, np.where(same, first.position, -1))

    def _nowhere(self, reason: str) -> Mapped:
        return Mapped(reason, np.full(self.geometry.bins, -1, np.int64))
