"""Where windows lie: splits by chromosome or by BED, and tiles, seeded random draws or given blocks inside them."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.sources.chroms import harmonise
from jaxepi.errors import JaxepiError

# Hold-out of the Melody paper: chr10 validates, chr8 and chr9 test, chrY is in no split.
PAPER_VALID = ("chr10",)
PAPER_TEST = ("chr8", "chr9")
PAPER_DROP = ("chrY",)


@dataclass(frozen=True)
class Span:
    """A stretch of a chromosome that windows may lie in, 0-based half-open."""

    chrom: str
    start: int
    end: int


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
) -> dict[str, list[Span]]:
    """Whole chromosomes per split: the named ones for valid and test, the rest for train; sorted by name.

    A split for which no chromosome is named does not exist.
    """
    both = sorted(set(valid) & set(test))
    if both:
        raise JaxepiError(f"{both[0]} is in --valid-chroms and in --test-chroms: a chromosome belongs to one split")
    held_out = {"valid": set(valid), "test": set(test)}
    rest = set(lengths) - set(valid) - set(test) - set(drop)
    spans = {"train": [Span(c, 0, lengths[c]) for c in sorted(rest)]}
    for split, named in held_out.items():
        if named:
            spans[split] = [Span(c, 0, lengths[c]) for c in sorted(named - set(drop)) if c in lengths]
    return spans


def split_by_regions(path: str | Path, lengths: Mapping[str, int], prefix: str = "as-is") -> dict[str, list[Span]]:
    """Spans per split from a BED file whose fourth column names the split, in the order of the file."""
    spans: dict[str, list[Span]] = {}
    for number, chrom, start, end, rest in _bed_rows(Path(path)):
        chrom = harmonise(chrom, prefix)
        if not rest:
            raise JaxepiError(
                f"{path} line {number} has three columns: the fourth must name the split (train, valid, test)"
            )
        if chrom not in lengths or end > lengths[chrom]:
            have = f"{lengths[chrom]} bases long" if chrom in lengths else "not in the FASTA file"
            raise JaxepiError(
                f"{path} line {number} says {chrom}:{start}-{end}, but {chrom} is {have}: use the same genome build"
            )
        spans.setdefault(rest[0], []).append(Span(chrom, start, end))
    return spans


def tile(spans: Sequence[Span], window: int, stride: int) -> Windows:
    """Windows at start, start + stride, … of each span, as long as they end inside it."""
    return make_windows([(s.chrom, start) for s in spans for start in range(s.start, s.end - window + 1, stride)])


def draw(
    spans: Sequence[Span], window: int, count: int, seed: int, blacklist: "Blacklist | None" = None
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
    blocks: Sequence[Span], spans: Sequence[Span], window: int, lengths: Mapping[str, int]
) -> tuple[Windows, int]:
    """One window per block, centred on it, for the blocks whose centre lies in one of the spans.

    Returns:
        The windows in the order of the blocks, and how many were left out because they ran off their chromosome.
    """
    allowed: dict[str, list[Span]] = {}
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


def read_blocks(path: str | Path, prefix: str = "as-is") -> list[Span]:
    """Blocks in file order, from BED, or from CSV with columns beginning with `chr`, `start`, `end` (`chr_hg38` …)."""
    path = Path(path)
    if not path.name.removesuffix(".gz").endswith(".csv"):
        return [Span(harmonise(c, prefix), start, end) for _, c, start, end, _ in _bed_rows(path)]
    rows = list(csv.DictReader(io.StringIO(_read_text(path))))
    columns = list(rows[0]) if rows else []
    # startCpG and endCpG of the published table count CpGs, not bases.
    bases = [c for c in columns if not c.endswith("CpG")]
    named = [next((c for c in bases if c.startswith(start)), None) for start in ("chr", "start", "end")]
    if None in named:
        raise JaxepiError(f"{path} has the columns {', '.join(columns) or 'none'}: chrom, start and end were expected")
    try:
        return [Span(harmonise(r[named[0]], prefix), int(r[named[1]]), int(r[named[2]])) for r in rows]
    except (TypeError, ValueError) as error:
        raise JaxepiError(f"{path} holds a start or end that is no number ({error})") from error


class Blacklist:
    """Intervals that windows should not touch."""

    def __init__(self, intervals: Sequence[Span]) -> None:
        self._by_chrom: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for chrom in {s.chrom for s in intervals}:
            own = sorted((s.start, s.end) for s in intervals if s.chrom == chrom)
            starts, ends = np.array(own, np.int64).T
            self._by_chrom[chrom] = (starts, np.maximum.accumulate(ends))

    @classmethod
    def from_bed(cls, path: str | Path, prefix: str = "as-is") -> "Blacklist":
        """Reads a BED file."""
        return cls([Span(harmonise(c, prefix), s, e) for _, c, s, e, _ in _bed_rows(Path(path))])

    def touches(self, chrom: str, start: np.ndarray, window: int) -> np.ndarray:
        """Which of the windows (N,) [start, start + window) share a base with an interval: bool (N,)."""
        if chrom not in self._by_chrom:
            return np.zeros(len(start), bool)
        starts, ends = self._by_chrom[chrom]
        before = np.searchsorted(starts, start + window, side="left") - 1
        return (before >= 0) & (ends[before] > start)

    def mark(self, windows: Windows, window: int) -> np.ndarray:
        """`touches` for windows of many chromosomes: bool (N,)."""
        hit = np.zeros(len(windows), bool)
        for i, chrom in enumerate(windows.chroms):
            own = windows.chrom_id == i
            hit[own] = self.touches(chrom, windows.start[own], window)
        return hit


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise JaxepiError(f"{path} cannot be read as text ({error})") from error


def _bed_rows(path: Path) -> list[tuple[int, str, int, int, list[str]]]:
    """(line number, chromosome, start, end, further columns) of each row of a BED file."""
    rows = []
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        parts = line.split("\t") if "\t" in line else line.split()
        try:
            chrom, start, end = parts[0], int(parts[1]), int(parts[2])
        except (IndexError, ValueError) as error:
            raise JaxepiError(f"{path} line {number} is not BED (chromosome, start, end): {line[:60]!r}") from error
        if not 0 <= start < end:
            raise JaxepiError(f"{path} line {number} has start {start} and end {end}: 0 <= start < end was expected")
        rows.append((number, chrom, start, end, parts[3:]))
    return rows
