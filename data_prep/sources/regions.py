"""Where windows lie: splits by chromosome or by BED, and tiles, seeded random draws or given blocks inside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import PREFIX_OPTIONS, harmonise, misnamed, naming_error, other_name
from jaxepi.genome.intervals import Interval, Intervals, make_interval
from jaxepi.genome.text_files import read_bed

# Hold-out of the Melody paper: chr10 validates, chr8 and chr9 test, chrY is in no split.
PAPER_VALID = ("chr10",)
PAPER_TEST = ("chr8", "chr9")
PAPER_DROP = ("chrY",)
_SPLITS = ("train", "valid", "test")  # as configs call them; others are allowed, their letters in another order are not


@dataclass(frozen=True)
class Windows:
    """N windows of one length in one split: `chroms[chrom_id[i]]`, `start[i]`; `blanked` marks those on a blacklist."""

    chroms: tuple[str, ...]
    chrom_id: np.ndarray  # (N,) int32
    start: np.ndarray  # (N,) int64
    blanked: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # (N,) bool

    def __len__(self) -> int:
        return len(self.start)

    def take(self, chosen: np.ndarray) -> "Windows":
        """The windows at the indices, or where the mask is true."""
        return Windows(self.chroms, self.chrom_id[chosen], self.start[chosen], self.blanked[chosen])

    def sorted(self) -> "Windows":
        """By chromosome name, then start: reading goes forward through each file."""
        names = np.array(self.chroms, dtype=np.str_)[self.chrom_id] if len(self) else np.zeros(0, np.str_)
        return self.take(np.lexsort((self.start, names)))


def make_windows(places: Sequence[tuple[str, int]]) -> Windows:
    """Windows from (chromosome, start) pairs, in the given order."""
    chroms = tuple(dict.fromkeys(chrom for chrom, _ in places))
    ids = {chrom: i for i, chrom in enumerate(chroms)}
    chrom_id = np.array([ids[chrom] for chrom, _ in places], np.int32)
    start = np.array([start for _, start in places], np.int64)
    return Windows(chroms, chrom_id, start, np.zeros(len(places), bool))


def split_by_chromosome(
    lengths: Mapping[str, int], valid: Sequence[str], test: Sequence[str], drop: Sequence[str]
) -> dict[str, list[Interval]]:
    """Whole chromosomes per split: the named ones for valid and test, the rest for train; sorted by name.

    A split for which no chromosome is named does not exist.
    """
    both = sorted(set(valid) & set(test))
    if both:
        raise JaxepiError(f"{both[0]} is in --valid-chroms and in --test-chroms: a chromosome belongs to one split")
    held_out = {"valid": set(valid), "test": set(test)}
    rest = set(lengths) - set(valid) - set(test) - set(drop)
    spans = {"train": [Interval(c, 0, lengths[c]) for c in sorted(rest)]}
    for split, named in held_out.items():
        if named:
            spans[split] = [Interval(c, 0, lengths[c]) for c in sorted(named - set(drop)) if c in lengths]
    return spans


def split_by_regions(path: str | Path, lengths: Mapping[str, int], prefix: str = "as-is") -> dict[str, list[Interval]]:
    """Intervals per split from a BED file whose fourth column names the split, in the order of the file.

    Raises:
        JaxepiError: a row without a split or beyond a chromosome, one that comes twice, or regions of two splits that
            overlap.
    """
    spans: dict[str, list[Interval]] = {}
    seen: set[tuple[Interval, str]] = set()
    for number, interval, rest in read_bed(Path(path), prefix):
        chrom = interval.chrom
        if not rest or not rest[0]:
            raise JaxepiError(f"{path} line {number} names no split: the fourth column must (train, valid, test)")
        meant = next((name for name in _SPLITS if sorted(rest[0].lower()) == sorted(name) and rest[0] != name), None)
        if meant is not None:
            raise JaxepiError(f"{path} line {number} names the split {rest[0]!r} (did you mean {meant!r}?)")
        other = other_name(chrom, lengths)
        if other is not None:
            raise JaxepiError(naming_error(f"{path} line {number}", chrom, "the FASTA", other, PREFIX_OPTIONS))
        if chrom not in lengths or interval.end > lengths[chrom]:
            have = f"{lengths[chrom]} bases long" if chrom in lengths else "not in the FASTA file"
            raise JaxepiError(f"{path} line {number} says {interval}, but {chrom} is {have}: use the same genome build")
        if (interval, rest[0]) in seen:
            raise JaxepiError(f"{path} line {number} lists {interval} of split {rest[0]!r} once more: remove the line")
        seen.add((interval, rest[0]))
        spans.setdefault(rest[0], []).append(interval)
    _check_apart(path, spans)
    return spans


def _check_apart(path: str | Path, spans: Mapping[str, Sequence[Interval]]) -> None:
    """Refuses regions of different splits with a common base: it would be trained on and tested."""
    together = sorted((*interval, split) for split, own in spans.items() for interval in own)
    reach: dict[str, dict[str, Interval]] = {}  # chromosome -> split -> the interval of it that ends last
    for chrom, start, end, split in together:
        last = reach.setdefault(chrom, {})
        other = next((name for name, region in last.items() if name != split and region.end > start), None)
        if other is not None:
            raise JaxepiError(
                f"{path}: {chrom}:{start}-{end} of split {split!r} overlaps {last[other]} of split {other!r}: keep "
                "splits apart"
            )
        if split not in last or end > last[split].end:
            last[split] = Interval(chrom, start, end)


def check_inside(path: Path, intervals: Intervals, lengths: Mapping[str, int]) -> int:
    """Checks intervals of a file against the chromosomes of the genome.

    Returns:
        How many lie on chromosomes that the genome does not have.

    Raises:
        JaxepiError: none at all, one beyond the end of its chromosome, a chromosome that the genome knows under its
            other name, or no chromosome that it knows.
    """
    if not len(intervals):
        raise JaxepiError(f"{path} holds no region: lines with chromosome, start and end were expected")
    wrong = misnamed(intervals.present, lengths)
    if wrong is not None:
        raise JaxepiError(naming_error(path, wrong[0], "the FASTA", wrong[1], PREFIX_OPTIONS))
    ends = np.array([lengths.get(chrom, -1) for chrom in intervals.chroms], np.int64)[intervals.chrom_id]
    unknown = ends < 0
    if unknown.all():
        some = ", ".join(intervals.present[:3])
        raise JaxepiError(f"{path} names {some}, none of which is in the FASTA: use the same genome build")
    beyond = np.flatnonzero(~unknown & (intervals.end > ends))
    if len(beyond):
        region = intervals[int(beyond[0])]
        raise JaxepiError(
            f"{path} says {region}, but {region.chrom} is {lengths[region.chrom]} bases long: use the same genome build"
        )
    return int(unknown.sum())


def tile(spans: Sequence[Interval], window: int, stride: int) -> Windows:
    """Windows at start, start + stride, … of each span, as long as they end inside it."""
    return make_windows([(s.chrom, start) for s in spans for start in range(s.start, s.end - window + 1, stride)])


def draw(
    spans: Sequence[Interval], window: int, count: int, seed: int, blacklist: Intervals | None = None
) -> tuple[Windows, np.ndarray]:
    """Random windows, in the order of the draws, and the probability of each span.

    As the original draws (NumPy's legacy generator, so that a seed gives its windows): a span with probability
    proportional to its length, then a centre such that the start is uniform on [span.start, span.end - window].

    Args:
        spans: in lexicographic order of chromosomes for parity; those shorter than a window are left out.
        window: bp.
        count: number of windows.
        seed: of the legacy generator.
        blacklist: windows that touch it are drawn again.

    Raises:
        JaxepiError: if no span can hold a window, or the blacklist leaves no room.
    """
    spans = [s for s in spans if s.end - s.start >= window]
    if not spans:
        raise JaxepiError(f"no chromosome or region is as long as --window {window} bp: use a smaller window")
    sizes = np.array([s.end - s.start for s in spans], np.float64)
    probability = sizes / sizes.sum()
    generator = np.random.RandomState(seed)
    half = window // 2
    places: list[tuple[str, int]] = []
    refused = 0
    while len(places) < count:
        span = spans[generator.choice(len(spans), p=probability)]
        size = span.end - span.start
        start = span.start + int(generator.randint(half, size - (window - half) + 1)) - half
        if blacklist is not None and blacklist.touches(span.chrom, np.array([start]), window)[0]:
            refused += 1
            if refused > 1000 * (count + 1):
                raise JaxepiError(
                    "the blacklist leaves no room for random windows: check that it is of this genome build"
                )
            continue
        places.append((span.chrom, start))
    return make_windows(places), probability


def centre_on_blocks(
    blocks: Sequence[Interval], spans: Sequence[Interval], window: int, lengths: Mapping[str, int]
) -> tuple[Windows, int]:
    """One window per block, centred on it, for the blocks whose centre lies in one of the spans.

    Returns:
        The windows in the order of the blocks, and how many were left out because they ran off their chromosome.
    """
    allowed: dict[str, list[Interval]] = {}
    for span in spans:
        allowed.setdefault(span.chrom, []).append(span)
    places, outside = [], 0
    for block in blocks:
        centre = (block.start + block.end) // 2
        if not any(s.start <= centre < s.end for s in allowed.get(block.chrom, ())):
            continue
        start = centre - window // 2
        if start < 0 or start + window > lengths[block.chrom]:
            outside += 1
            continue
        places.append((block.chrom, start))
    return make_windows(places), outside


def read_blocks(path: str | Path, prefix: str = "as-is") -> list[Interval]:
    """Blocks in file order, from BED, or from CSV with columns beginning with `chr`, `start`, `end` (`chr_hg38` …)."""
    path = Path(path)
    if not path.name.removesuffix(".gz").endswith(".csv"):
        return [row.interval for row in read_bed(path, prefix)]
    blocks = []
    for number, row in read_rows(path):
        # startCpG and endCpG of the published table count CpGs, not bases.
        bases = [column for column in row if not column.endswith("CpG")]
        named = [next((c for c in bases if c.startswith(start)), None) for start in ("chr", "start", "end")]
        if None in named:
            raise JaxepiError(f"{path} has the columns {', '.join(row)}: chrom, start and end were expected")
        chrom, start, end = (row[column] for column in named)
        try:
            blocks.append(make_interval(harmonise(chrom, prefix), start, end))
        except ValueError as error:
            raise JaxepiError(f"{path} line {number}: {error}") from None
    return blocks


def mark(windows: Windows, length: int, blacklist: Intervals) -> np.ndarray:
    """Which of N windows of this length share a base with the blacklist: bool (N,)."""
    hit = np.zeros(len(windows), bool)
    for i, chrom in enumerate(windows.chroms):
        own = windows.chrom_id == i
        hit[own] = blacklist.touches(chrom, windows.start[own], length)
    return hit
