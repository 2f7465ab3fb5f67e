"""Contigs: the stretches of a genome that windows are laid in, before they are shared out to splits.

Every step is that of the original's data program, so that its seeds give its splits.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from jaxepi.genome.intervals import Interval, Intervals, joined

LOST_CONTIG = ("keep", "parity")


def whole_chromosomes(lengths: Mapping[str, int]) -> list[Interval]:
    """One contig a chromosome, in the order of the file."""
    return [Interval(chrom, 0, length) for chrom, length in lengths.items()]


def subtract(contigs: Iterable[Interval], gaps: Intervals) -> list[Interval]:
    """What is left of contigs without the gaps, which may overlap."""
    left = []
    for contig in contigs:
        starts, ends = gaps.covered(contig.chrom)
        inside = (ends > contig.start) & (starts < contig.end)
        edges = [contig.start, *np.stack([starts[inside], ends[inside]], axis=1).ravel().tolist(), contig.end]
        left += [Interval(contig.chrom, low, high) for low, high in zip(edges[::2], edges[1::2], strict=True)]
    return [contig for contig in left if contig.length > 0]


def intersect(contigs: Iterable[Interval], regions: Sequence[Interval]) -> list[Interval]:
    """The parts of each contig that lie in each region, ascending in a contig; overlapping regions give overlaps."""
    own: dict[str, list[Interval]] = {}
    for region in sorted(regions):
        own.setdefault(region.chrom, []).append(region)
    parts = [
        Interval(contig.chrom, max(contig.start, region.start), min(contig.end, region.end))
        for contig in contigs
        for region in own.get(contig.chrom, ())
    ]
    return [part for part in parts if part.length > 0]


def peak_regions(peaks: Intervals, bin_width: int, crop: int) -> list[Interval]:
    """Regions around peaks whose lengths are whole numbers of bins.

    A peak shorter than a bin becomes one, centred; all grow by the crop on both sides and are joined; what comes out is
    centred anew with a length that is rounded to bins.
    """
    middle = (peaks.start + peaks.end) // 2
    short = peaks.end - peaks.start < bin_width
    start = np.where(short, middle - bin_width // 2, peaks.start)
    end = np.where(short, start + bin_width, peaks.end)
    start, end = np.maximum(start - crop, 0), end + crop
    regions = []
    for number, chrom in sorted(enumerate(peaks.chroms), key=lambda item: item[1]):
        of_chrom = peaks.chrom_id == number
        starts, ends, _ = joined(start[of_chrom], end[of_chrom])
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
            length = round((last - first) / bin_width) * bin_width
            begin = max((first + last) // 2 - length // 2, 0)
            regions.append(Interval(chrom, begin, begin + length))
    return regions


def break_up(contigs: Iterable[Interval], longest: int, lost: str = "keep") -> list[Interval]:
    """Halves contigs until none is longer than `longest`.

    Args:
        contigs: in any order.
        longest: bp.
        lost: the original takes one contig more from its heap to see that it is short enough, and loses it: `parity`
            does the same, which its splits need; `keep` puts it back.

    Returns:
        Contigs in the order of the original's heap.
    """
    heap: list[tuple[int, Interval]] = []
    for contig in contigs:
        heapq.heappush(heap, (-contig.length, contig))
    while heap:
        _, contig = heapq.heappop(heap)
        if contig.length <= longest:
            if lost == "keep":
                heapq.heappush(heap, (-contig.length, contig))
            break
        middle = contig.start + contig.length // 2
        for half in (Interval(contig.chrom, contig.start, middle), Interval(contig.chrom, middle, contig.end)):
            heapq.heappush(heap, (-half.length, half))
    return [contig for _, contig in heap]


def rejoin(contigs: Sequence[Interval]) -> list[Interval]:
    """Joins contigs of one split that touch: chromosomes in the order of their first contig, starts ascending."""
    order = {chrom: place for place, chrom in enumerate(dict.fromkeys(contig.chrom for contig in contigs))}
    whole: list[Interval] = []
    for contig in sorted(contigs, key=lambda contig: (order[contig.chrom], contig.start)):
        if whole and whole[-1].chrom == contig.chrom and whole[-1].end == contig.start:
            whole[-1] = Interval(contig.chrom, whole[-1].start, contig.end)
        else:
            whole.append(contig)
    return whole
