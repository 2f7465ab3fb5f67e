"""Windows whose coverage is binned, laid in contigs or as a BED file lists them; which bins are unmappable."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.coverage.contigs import rejoin
from data_prep.coverage.splits import Contigs
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import misnamed, naming_error
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.genome.text_files import read_bed

_HELD_OUT = ("valid", "test")  # what --stride-test is for
_MINOR = 0.1  # share of a bin: a smaller overlap with its first or last bin does not count


@dataclass(frozen=True)
class Sequences:
    """N windows of `length` bp (what the bins cover, without the crop), split after split, in the order of the records.

    Attributes:
        splits: names of the splits.
        split_id: (N,) int32, ascending.
        chroms: names of the chromosomes.
        chrom_id: (N,) int32.
        start: (N,) int64.
        length: bp.
    """

    splits: tuple[str, ...]
    split_id: np.ndarray
    chroms: tuple[str, ...]
    chrom_id: np.ndarray
    start: np.ndarray
    length: int

    def __len__(self) -> int:
        return len(self.start)

    def take(self, chosen: np.ndarray) -> "Sequences":
        """The windows where the mask, or at the indices."""
        return Sequences(
            self.splits, self.split_id[chosen], self.chroms, self.chrom_id[chosen], self.start[chosen], self.length
        )

    def counts(self) -> dict[str, int]:
        """Windows of each split."""
        return dict(zip(self.splits, np.bincount(self.split_id, minlength=len(self.splits)).tolist(), strict=True))

    def bed(self) -> str:
        """sequences.bed: chromosome, start, end, split."""
        return "".join(
            f"{self.chroms[c]}\t{s}\t{s + self.length}\t{self.splits[p]}\n"
            for c, s, p in zip(self.chrom_id.tolist(), self.start.tolist(), self.split_id.tolist(), strict=True)
        )


def make_sequences(places: Mapping[str, Sequence[tuple[str, int]]], length: int) -> Sequences:
    """From (chromosome, start) per split.

    Raises:
        JaxepiError: a split without a window.
    """
    empty = next((split for split, own in places.items() if not own), None)
    if empty is not None:
        raise JaxepiError(
            f"split {empty!r} is empty: no contig of it holds a window of {length} bp, so let contigs be shorter (a "
            "smaller --break), the split larger (--valid, --test), windows shorter (--window), or use whole chromosomes"
        )
    chroms = {chrom: i for i, chrom in enumerate(dict.fromkeys(c for own in places.values() for c, _ in own))}
    rows = [(p, chroms[c], s) for p, own in enumerate(places.values()) for c, s in own]
    split_id, chrom_id, start = np.array(rows, np.int64).reshape(-1, 3).T
    return Sequences(
        tuple(places), split_id.astype(np.int32), tuple(chroms), chrom_id.astype(np.int32), start, length
    )  # fmt: skip


def lay(
    contigs: Contigs, length: int, strides: Mapping[str, int], snap: int, share: float, seed: int
) -> tuple[Contigs, Sequences]:
    """Windows in the contigs of each split, those that touch joined again first.

    Args:
        contigs: of each split.
        length: of a window, bp.
        strides: distance of window starts, bp, for `train` (and folds) and `test` (and valid).
        snap: starts are multiples of it, from the first one in a contig on.
        share: of the windows of each split that is kept, drawn by chance.
        seed: of Python's generator: its order and choice are those of the original.

    Returns:
        The joined contigs, and the windows.
    """
    generator = random.Random(seed)
    whole, places = {}, {}
    for split, own in contigs.items():
        whole[split] = rejoin(own)
        stride = strides["test" if split in _HELD_OUT else "train"]
        laid = [
            (contig.chrom, start)
            for contig in whole[split]
            for start in range(-(-contig.start // snap) * snap, contig.end - length + 1, stride)
        ]
        generator.shuffle(laid)
        places[split] = generator.sample(laid, int(share * len(laid))) if share < 1 else laid
    return whole, make_sequences(places, length)


def read_sequences(path: Path, lengths: Mapping[str, int], window: int, crop: int, prefix: str) -> Sequences:
    """The windows of a sequences.bed: all of the length of the window, or all of what its bins cover.

    Raises:
        JaxepiError: another length, no split in the fourth column, a window beyond its chromosome, or one that comes
            twice.
    """
    places: dict[str, list[tuple[str, int]]] = {}
    seen: set[tuple[str, int]] = set()
    before = {window: crop, window - 2 * crop: 0}
    for row in read_bed(path, prefix):
        interval = row.interval
        if interval.length not in before:
            raise JaxepiError(
                f"{path} line {row.line} is {interval.length} bp long: windows of {window} bp (--window), or of "
                f"{window - 2 * crop} bp without the crop, were expected"
            )
        if not row.further or not row.further[0]:
            raise JaxepiError(f"{path} line {row.line} names no split: the fourth column must (train, valid, test)")
        start = interval.start + before[interval.length]
        where = Interval(interval.chrom, start, start + window - 2 * crop)
        _check_on_genome(path, row.line, where, lengths)
        if (interval.chrom, start) in seen:
            raise JaxepiError(f"{path} line {row.line} lists {interval} once more: remove the line")
        seen.add((interval.chrom, start))
        places.setdefault(row.further[0], []).append((interval.chrom, start))
    if not places:
        raise JaxepiError(f"{path} holds no window: rows with chromosome, start, end and split were expected")
    return make_sequences(places, window - 2 * crop)


def shared_windows(sequences: Sequences) -> int:
    """How many windows have a base in common with one of another split, so that what is trained on is tested."""
    end = sequences.start + sequences.length
    shared = np.zeros(len(sequences), bool)
    for split in range(len(sequences.splits)):
        own = sequences.split_id == split
        others = Intervals(sequences.chroms, sequences.chrom_id[~own], sequences.start[~own], end[~own])
        for number, chrom in enumerate(sequences.chroms):
            here = np.flatnonzero(own & (sequences.chrom_id == number))
            shared[here] = others.touches(chrom, sequences.start[here], sequences.length)
    return int(shared.sum())


def _check_on_genome(path: Path, line: int, interval: Interval, lengths: Mapping[str, int]) -> None:
    """Raises JaxepiError if the interval of a line does not lie on its chromosome."""
    wrong = misnamed([interval.chrom], lengths)
    if wrong is not None:
        raise JaxepiError(naming_error(f"{path} line {line}", wrong[0], "the FASTA", wrong[1]))
    if interval.end > lengths.get(interval.chrom, -1):
        length = lengths.get(interval.chrom)
        have = f"{length} bases long" if length is not None else "not in the FASTA"
        raise JaxepiError(
            f"{path} line {line} says {interval}, but {interval.chrom} is {have}: use the same genome build"
        )


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
        first = first + ((first + 1) * bin_width - start < _MINOR * bin_width)
        last = last - (end - (last - 1) * bin_width < _MINOR * bin_width)
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
