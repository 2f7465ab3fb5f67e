"""The sequence around CpG sites: one FASTA file or a folder of them, whole chromosomes or named pieces."""

import gzip
import re
import shutil
import zlib
from pathlib import Path

import numpy as np

from data_prep.sources.genome import Genome
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.sequence import N, channels_of

_FASTA_NAME = re.compile(r"\.(fa|fasta|fna)(\.b?gz)?$", re.IGNORECASE)
_PIECE_NAME = re.compile(r"^(.+):(\d+)-(\d+)$")
_BGZF_EXTRA = 4  # flag of a gzip header that a block-gzipped file has set
_WORTH_BRIDGING = 20_000  # bp between windows that are still read together
_LONGEST_READ = 1 << 20


def fasta_files(path: Path) -> list[Path]:
    """The FASTA file, or the FASTA files of a folder in alphabetical order.

    Raises:
        JaxepiError: nothing there, or a folder without a FASTA file.
    """
    if path.is_file():
        return [path.absolute()]
    if not path.is_dir():
        raise JaxepiError(f"{path} does not exist: a FASTA file or a folder of FASTA files was expected")
    files = sorted(p.absolute() for p in path.iterdir() if p.is_file() and _FASTA_NAME.search(p.name))
    if not files:
        raise JaxepiError(f"{path} holds no FASTA file: names ending in .fa, .fasta or .fna (and .gz) were expected")
    return files


class Sequences:
    """Base codes of chromosomes from several FASTA files; safe to pickle and to use in other processes.

    Attributes:
        lengths: chromosome -> bp; of a chromosome given in pieces, the end of the last one.
    """

    def __init__(self, files: list[Path], prefix: str = "as-is", pieces: bool = False) -> None:
        """Args:
            files: FASTA files with different chromosomes; plain or block-gzipped.
            prefix: see `jaxepi.genome.chroms.harmonise`.
            pieces: names such as `chr5:1001-2000` (1-based, both ends included) are pieces of chr5, the rest being N.

        Raises:
            JaxepiError: an unreadable file, a chromosome that is in two files, or a name that is no piece.
        """
        self.lengths: dict[str, int] = {}
        self._spans: dict[str, list[tuple[int, int, Genome, str]]] = {}
        for path in files:
            genome = Genome(path)
            for name, length in genome.lengths.items():
                chrom, start = _place(path, name, length) if pieces else (name, 0)
                chrom = harmonise(chrom, prefix)
                if not pieces and chrom in self._spans:
                    other = self._spans[chrom][0][2].path
                    raise JaxepiError(f"{path} has chromosome {chrom!r}, and so has {other}: give each chromosome once")
                self._spans.setdefault(chrom, []).append((start, start + length, genome, name))
                self.lengths[chrom] = max(start + length, self.lengths.get(chrom, 0))

    def codes(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Base codes (end - start,) uint8 of an interval, 0-based half-open; N where nothing is known."""
        codes = np.full(end - start, N, np.uint8)
        for first, last, genome, name in self._spans[chrom]:
            low, high = max(start, first), min(end, last)
            if low < high:
                codes[low - start : high - start] = genome.codes(name, low - first, high - first)
        return codes

    def take_counts(self) -> tuple[int, int]:
        """Bases read since the last call, and ambiguity codes other than N among them, of all files."""
        genomes = {id(genome): genome for spans in self._spans.values() for _, _, genome, _ in spans}
        counts = [genome.take_counts() for genome in genomes.values()]
        return sum(bases for bases, _ in counts), sum(ambiguous for _, ambiguous in counts)

    def windows(self, chrom: str, sites: np.ndarray, window: int) -> np.ndarray:
        """Base codes (S, window) uint8 of windows centred on sites (S,), ascending; `window` is odd."""
        half = window // 2
        made = np.empty((len(sites), window), np.uint8)
        low = 0
        while low < len(sites):
            near = np.flatnonzero(np.diff(sites[low:]) > _WORTH_BRIDGING)
            high = low + int(near[0]) + 1 if len(near) else len(sites)
            high = min(high, max(int(np.searchsorted(sites, sites[low] + _LONGEST_READ)), low + 1))
            start = int(sites[low]) - half
            codes = self.codes(chrom, start, int(sites[high - 1]) + half + 1)
            views = np.lib.stride_tricks.sliding_window_view(codes, window)
            made[low:high] = views[sites[low:high] - half - start]
            low = high
        return made


def _place(path: Path, name: str, length: int) -> tuple[str, int]:
    match = _PIECE_NAME.match(name)
    if match is None or int(match[3]) - int(match[2]) + 1 != length or int(match[2]) < 1:
        raise JaxepiError(
            f"{path} has the record {name!r} of {length} bp: with --fasta-pieces names such as chr5:1001-2000 "
            "(1-based, both ends included) and as many bases were expected"
        )
    return match[1], int(match[2]) - 1


def unpacked(files: list[Path], folder: Path) -> list[Path]:
    """The files, those gzipped in one piece (Ensembl's) unpacked into `folder`, since they allow no random access.

    Raises:
        JaxepiError: a damaged file.
    """
    ready = []
    for number, path in enumerate(files):
        if not _is_plain_gzip(path):
            ready.append(path)
            continue
        target = folder / f"{number}-{path.name.removesuffix('.gz')}"
        try:
            with gzip.open(path) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise JaxepiError(f"{path} cannot be unpacked ({error}): copy or download it again") from error
        ready.append(target)
    return ready


def _is_plain_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    return head[:2] == b"\x1f\x8b" and not head[3] & _BGZF_EXTRA


def random_bases(sequence: np.ndarray, seed: int, drawn: int) -> np.ndarray:
    """The sequences with each N replaced by a random base, as the original does when it writes a dataset.

    The original draws A, T, G or C from NumPy's legacy generator, one draw an N, in genome order through all windows.

    Args:
        sequence: base codes, any shape.
        seed: of the generator.
        drawn: how many N came before.
    """
    generator = np.random.RandomState(seed)
    skipped = 0
    while skipped < drawn:
        step = min(1 << 20, drawn - skipped)
        generator.randint(0, 4, step)
        skipped += step
    filled = sequence.copy()
    at = filled == N
    original_order = np.array(channels_of("ATGC"), np.uint8)  # A T G C in the codes of A C G T
    filled[at] = original_order[generator.randint(0, 4, int(at.sum()))]
    return filled
