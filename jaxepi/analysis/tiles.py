"""Which windows a model must see to predict at every CpG of a BED's regions, or of a FASTA's records."""

import dataclasses
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxepi import sequence
from jaxepi.errors import JaxepiError
from jaxepi.genome import text_files
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.regions import centred_start, window_count, window_start

STRETCH = 1 << 20  # bp whose sites are held at a time


@dataclasses.dataclass(frozen=True)
class Window:
    """One input of the model and the part of it to report.

    Attributes:
      chrom: contig; start: of the window, negative or running over the end where N fill the gap.
      low, high: interval of the contig whose CpGs are reported from this window (by the position of the C).
      region: index of the region or record it serves.
    """

    chrom: str
    start: int
    low: int
    high: int
    region: int


class Plan(Protocol):
    """All windows of a job, in order, made when asked for.

    Attributes:
      regions: how many regions or records they serve; window: bp of each.
    """

    regions: int
    window: int

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Window: ...

    def notes(self) -> list[str]:
        """Sentences on windows that could not lie where they should."""
        ...


def read_bed(path: str | os.PathLike[str], genome: Genome) -> Intervals:
    """All regions of a BED (or gzipped BED), checked against the genome; see `jaxepi.genome.text_files.read_bed`.

    Raises:
      JaxepiError: a line is no interval of the genome, told with its number; or there is no region at all.
    """
    path = Path(path)
    regions = Intervals.of((inside(row, genome, path) for row in text_files.read_bed(path)), genome.names)
    if not len(regions):
        raise JaxepiError(f"{path} holds no region: expected lines with chromosome, start and end.")
    return regions


def inside(row: text_files.BedRow, genome: Genome, path: Path) -> Interval:
    """The interval of a row of a BED. Raises JaxepiError if it is not one of the genome; `path` is for the sentence."""
    chrom, _, end = row.interval
    if chrom not in genome:
        raise JaxepiError(genome.unknown(chrom, f"{path} line {row.line}"))
    length = genome.lengths[chrom]
    if end > length:
        raise JaxepiError(
            f"{path} line {row.line}: {row.interval} reaches beyond {chrom}, {length} bp in {genome.path}."
        )
    return row.interval


class Tiles:
    """Windows over regions as `jaxepi.regions.window_start` lays them; each CpG is reported from one of them.

    On a chromosome shorter than a window, N fill the rest. With `repeat`, the last tile also reports what the tile
    before it has reported, as Melody's own tool does.
    """

    def __init__(self, regions: Intervals, genome: Genome, window: int, repeat: bool = False):
        self.regions = len(regions.start)
        self.window = window
        self._r, self._repeat = regions, repeat
        self._names = genome.names
        # windows up to and with each region
        self._last = np.cumsum(window_count(regions.end - regions.start, window))
        self._lengths = np.array(list(genome.lengths.values()), np.int64)[regions.chrom_id]

    def __len__(self) -> int:
        return int(self._last[-1])

    def __getitem__(self, index: int) -> Window:
        region = int(np.searchsorted(self._last, index, side="right"))
        tile = index - (int(self._last[region - 1]) if region else 0)
        chrom = self._names[self._r.chrom_id[region]]
        own = Interval(chrom, int(self._r.start[region]), int(self._r.end[region]))
        start = window_start(own, int(self._lengths[region]), self.window, tile)
        if own.length <= self.window:
            return Window(chrom, start, own.start, own.end, region)
        low = start if self._repeat else own.start + tile * self.window
        return Window(chrom, start, low, start + self.window, region)

    def notes(self) -> list[str]:
        single = self._r.end - self._r.start <= self.window
        left = centred_start(self._r.start, self._r.end, self.window)
        short = single & (self._lengths < self.window)
        moved = single & ~short & ((left < 0) | (left + self.window > self._lengths))
        told = []
        if moved.any():
            told.append(f"windows moved inside their chromosome, so that the region is off centre: {moved.sum()}")
        if short.any():
            told.append(f"windows filled with N, on chromosomes shorter than {self.window} bp: {short.sum()}")
        return told


class Sites:
    """One window for each CpG of the regions, its C in the middle; N where a window leaves its chromosome.

    Regions are cut into stretches whose CpGs are counted once, so that any window is found without keeping them all.
    """

    def __init__(self, regions: Intervals, genome: Genome, window: int):
        """Reads the regions once.

        Raises:
          JaxepiError: there is no CpG in them.
        """
        self.regions, self.window, self._genome = len(regions.start), window, genome
        lows = [np.arange(low, high, STRETCH) for low, high in zip(regions.start, regions.end, strict=True)]
        self._region = np.repeat(np.arange(self.regions), [len(own) for own in lows])
        self._low = np.concatenate(lows)
        self._high = np.minimum(self._low + STRETCH, regions.end[self._region])
        self._chroms = [genome.names[chrom] for chrom in regions.chrom_id]
        self._found: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))  # positions in the stretch used last
        counts = [len(self._positions(stretch)) for stretch in range(len(self._low))]
        self._last = np.cumsum(counts)  # windows up to and with each stretch
        if not len(self):
            raise JaxepiError(f"There is no CpG in the {self.regions} region(s), so there is nothing to predict.")

    def _positions(self, stretch: int) -> np.ndarray:
        """The Cs of the CpGs of a stretch."""
        if self._found[0] != stretch:
            low, high = int(self._low[stretch]), int(self._high[stretch])
            # one base more, since a CpG may begin with the last one
            codes = self._genome.codes(self._chroms[self._region[stretch]], low, high + 1, pad=True)
            self._found = stretch, low + np.flatnonzero((codes[:-1] == sequence.C) & (codes[1:] == sequence.G))
        return self._found[1]

    def __len__(self) -> int:
        return int(self._last[-1])

    def __getitem__(self, index: int) -> Window:
        stretch = int(np.searchsorted(self._last, index, side="right"))
        site = int(self._positions(stretch)[index - (int(self._last[stretch - 1]) if stretch else 0)])
        region = int(self._region[stretch])
        return Window(self._chroms[region], site - self.window // 2, site, site + 1, region)

    def notes(self) -> list[str]:
        return []


class Records:
    """One window for each FASTA record: its centre if it is longer than a window, else N on both sides.

    Reported is all of it, or with `middle` only what lies there.
    """

    def __init__(self, genome: Genome, window: int, middle: bool = False):
        self._genome, self._middle = genome, middle
        self._lengths = list(genome.lengths.items())
        self.window = window
        self.regions = len(self._lengths)

    def __len__(self) -> int:
        return self.regions

    def __getitem__(self, index: int) -> Window:
        name, length = self._lengths[index]
        start = (length - self.window) // 2 if length >= self.window else -((self.window - length) // 2)
        if self._middle:
            site = start + self.window // 2
            return Window(name, start, site, site + 1, index)
        return Window(name, start, max(0, start), min(length, start + self.window), index)

    def notes(self) -> list[str]:
        lengths = np.array([length for _, length in self._lengths])
        cropped, padded = (lengths > self.window).sum(), (lengths < self.window).sum()
        told = []
        if cropped:
            told.append(f"records longer than {self.window} bp, of which only the centre is predicted: {cropped}")
        if padded:
            told.append(f"records shorter than {self.window} bp, with N put on both sides: {padded}")
        if self._middle and (without := sum(not self._has_site(index) for index in range(len(self)))):
            told.append(f"records without a CpG in their middle, which get no prediction: {without}")
        return told

    def _has_site(self, index: int) -> bool:
        window = self[index]
        return self._genome.codes(window.chrom, window.low, window.low + 2, pad=True).tolist() == [
            sequence.C,
            sequence.G,
        ]


def windows_of_batch(plan: Plan, batch: int, size: int) -> list[Window]:
    """Windows of one batch: always the same ones, so that a run that goes on computes what it would have computed."""
    return [plan[i] for i in range(batch * size, min((batch + 1) * size, len(plan)))]
