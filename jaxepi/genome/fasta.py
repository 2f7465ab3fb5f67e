"""Sequence of a genome FASTA, plain or block-gzipped, as base codes. Intervals are 0-based half-open."""

import bisect
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyfaidx

from jaxepi import sequence
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import naming_error, other_name
from jaxepi.genome.text_files import BOM
from jaxepi.storage.atomic import replacing

_HEADERS_CHECKED = 1000


class Genome:
    """Random access to the contigs of a FASTA file.

    The index (`.fai`, and `.gzi` for a block-gzipped file) is used if it lies beside the file, is not older and fits
    its headers. If not, it is built and put there; where that is not permitted it is kept in the user's cache
    directory. An object may be pickled or copied into other processes: each opens the file for itself. Threads may
    share one. If more than 5 % of the bases read are ambiguity codes other than N, a line on stderr says so, once.

    Attributes:
      path: the file.
      lengths: contig name -> length in bp, in the order of the file.

    Raises:
      JaxepiError: the file is missing, no FASTA, plainly gzipped, has a name twice, or cannot be indexed.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._open()

    def _open(self) -> None:
        if not self.path.is_file():
            raise JaxepiError(f"There is no FASTA file {self.path}.")
        self._fasta = _open_indexed(self.path)
        self._process = os.getpid()
        self._bases_read = self._ambiguous = 0
        self._taken = (0, 0)  # of these two, what `take_counts` has given
        self._told = False
        self.lengths = {name: record.rlen for name, record in self._fasta.faidx.index.items()}
        if not self.lengths:
            raise JaxepiError(f"{self.path} holds no FASTA record: expected lines that start with '>'.")

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.path = state["path"]
        self._open()

    @property
    def names(self) -> list[str]:
        """Contig names in the order of the file."""
        return list(self.lengths)

    def __contains__(self, chrom: object) -> bool:
        return chrom in self.lengths

    def codes(self, chrom: str, start: int = 0, end: int | None = None, *, pad: bool = False) -> np.ndarray:
        """Base codes (end - start,) uint8 of an interval; the whole contig without `start` and `end`.

        With `pad`, bases before the contig's start and beyond its end are N.

        Raises:
          JaxepiError: unknown contig, an interval that leaves it (without `pad`), a letter that stands for no base, or
            an unreadable file.
        """
        if chrom not in self.lengths:
            raise JaxepiError(self.unknown(chrom, "The interval asked for"))
        length = self.lengths[chrom]
        end = length if end is None else end
        if not pad and not 0 <= start <= end <= length:
            raise JaxepiError(f"{chrom}:{start}-{end} is not inside {chrom} of {self.path}, which has {length} bp.")
        low, high = max(start, 0), min(end, length)
        inside = self._encoded(chrom, low, high) if low < high else np.empty(0, np.uint8)
        if inside.size != max(0, high - low):
            raise JaxepiError(
                f"{self.path} gave {inside.size} instead of {high - low} bases for {chrom}:{low}-{high}: "
                "the file is truncated, or its index belongs to another file; remove the .fai and try again."
            )
        if low == start and high == end:
            return inside
        padded = np.full(end - start, sequence.N, np.uint8)
        padded[low - start : low - start + inside.size] = inside
        return padded

    def take_counts(self) -> tuple[int, int]:
        """How many bases were read since the last call, and how many of them are ambiguity codes other than N."""
        before, self._taken = self._taken, (self._bases_read, self._ambiguous)
        return self._bases_read - before[0], self._ambiguous - before[1]

    def _encoded(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Codes of an interval inside a contig, ambiguity codes counted and told."""
        try:
            codes, ambiguous = sequence.encode_counted(self._letters(chrom, start, end))
        except sequence.ForeignLetter as problem:
            at = start + problem.place
            raise JaxepiError(
                f"{self.path} has the letter {problem.letter!r} at {chrom}:{at}-{at + 1}: bases in IUPAC's letters "
                "were expected, no gaps, digits or amino acids."
            ) from None
        self._bases_read += codes.size
        self._ambiguous += ambiguous
        if self._ambiguous > sequence.MANY_AMBIGUOUS * self._bases_read and not self._told:
            self._told = True
            print(
                f"warning: of {self._bases_read} bases read from {self.path}, up to {chrom}:{start}-{end}, "
                f"{self._ambiguous} are ambiguity codes ({sequence.AMBIGUITY_CODES}): they count as N",
                file=sys.stderr,
            )
        return codes

    def _letters(self, chrom: str, start: int, end: int) -> str:
        if os.getpid() != self._process:  # a forked child must not share the parent's file position
            self._open()
        try:
            return self._fasta[chrom][start:end]
        except Exception as problem:  # of a damaged block come errors of struct, zlib, Biopython and pyfaidx
            raise JaxepiError(
                f"{self.path} cannot be read at {chrom}:{start}-{end} ({_told_by(problem)}): the file is damaged, copy "
                "or download it again."
            ) from problem

    def unknown(self, chrom: str, who: str) -> str:
        """The sentence for a contig name that this file does not have; `who` names the file that asked for it."""
        other = other_name(chrom, self.lengths)
        if other is not None:
            return f"{naming_error(who, chrom, self.path, other)}."
        first = ", ".join(self.names[:3])
        near = did_you_mean(chrom, self.lengths)
        return f"{who} names {chrom!r}, which is not in {self.path}{near}; its contigs are {first} ..."

    def require(self, chroms: Iterable[str], who: str) -> None:
        """Raises JaxepiError for the first of `chroms` that this file does not have; `who` names who asks."""
        for chrom in chroms:
            if chrom not in self.lengths:
                raise JaxepiError(self.unknown(chrom, who))


def _told_by(problem: Exception) -> str:
    """What a library says, on one line."""
    return " ".join(str(problem).split()) or type(problem).__name__


class _Indexer(pyfaidx.Faidx):
    """Builds the index also of a file that begins with a byte order mark, which pyfaidx takes for a base."""

    def build_index(self) -> None:
        marked = self.file.read(len(BOM)) == BOM
        self.file.seek(0)
        if not marked:
            super().build_index()
            return
        whole, self.file = self.file, _Unmarked(self.file)
        try:
            super().build_index()
        finally:
            self.file = whole
        rows = [line.split("\t") for line in Path(self.indexname).read_text().splitlines()]
        for row in rows:
            row[2] = str(int(row[2]) + len(BOM))
        Path(self.indexname).write_text("".join("\t".join(row) + "\n" for row in rows))


class _Unmarked:
    """A file as pyfaidx reads it while it builds an index: line by line, here without the byte order mark."""

    def __init__(self, file: Any):
        self._file = file

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int) -> None:
        self._file.seek(place)

    def __iter__(self) -> Iterator[bytes]:
        for number, line in enumerate(self._file):
            yield line if number else line.removeprefix(BOM)


def _open_fasta(path: Path, fai: Path, gzi: Path, kind: type = pyfaidx.Fasta) -> Any:
    """Opens with the index at the given places, building it there if it is missing; `kind` is a class of pyfaidx."""
    gzi_name = str(gzi) if _is_gzip(path) else None
    try:
        return kind(str(path), as_raw=True, rebuild=False, indexname=str(fai), gzi_indexname=gzi_name)
    except pyfaidx.UnsupportedCompressionFormat as problem:
        raise JaxepiError(
            f"{path} is gzipped in one piece, which allows no random access: "
            f"recompress it in blocks (gunzip -c {path.name} | bgzip > new.fa.gz) or unpack it."
        ) from problem
    except OSError as problem:
        raise JaxepiError(f"Cannot read {path} or write its index {fai} ({problem}).") from problem
    except Exception as problem:  # of a damaged block come errors of struct, zlib, Biopython and pyfaidx
        raise JaxepiError(
            f"{path} cannot be read as FASTA ({_told_by(problem)}): mend it, or copy or download it again."
        ) from problem


def _open_indexed(path: Path) -> pyfaidx.Fasta:
    """Opens with an index that belongs to the file, built if there is none."""
    parts = (".fai", ".gzi") if _is_gzip(path) else (".fai",)
    beside = [Path(f"{path}{part}") for part in parts]
    about = path.stat()
    identity = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"
    digest = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxepi" / "fasta_index" / digest
    cached = [cache / f"genome.fa{part}" for part in parts]
    candidates = [beside] if _usable(beside, path) else []
    candidates += [cached] if all(place.is_file() for place in cached) else []
    for places in candidates:
        try:
            fasta = _open_fasta(path, places[0], places[-1])
            if _fits(fasta.faidx):
                return fasta
        except Exception:  # the index is built anew; if the file itself is wrong, that tells it
            continue
    places = _build_index(path, beside, cached)
    fasta = _open_fasta(path, places[0], places[-1])
    if not _fits(fasta.faidx):
        raise JaxepiError(
            f"{path} has lines that end in more than one way, so that a base cannot be found by counting: bring them "
            "to one form, for example with dos2unix."
        )
    return fasta


def _fits(faidx: Any) -> bool:
    """Whether headers lie where the index of a pyfaidx object says: the right name, ended right before the sequence.

    All of them are looked at, or 1,000 of a file with more; and behind the last contig there is nothing but blanks.
    """
    records = list(faidx.index.items())
    if not records:
        return False
    for i in np.unique(np.linspace(0, len(records) - 1, _HEADERS_CHECKED, dtype=np.int64)):
        name, record = records[i]
        before = _read_at(faidx, record.prev_bend, record.offset - record.prev_bend)
        before = before.removeprefix(BOM) if not record.prev_bend else before
        *earlier, header = before.splitlines() if before.endswith(b"\n") else [b""]
        named = header[:1] == b">" and header[1:].decode("utf-8", "replace").split()[:1] == [name]
        if not named or any(line.strip() and not line.startswith(b";") for line in earlier):
            return False
    last = records[-1][1]
    end = last.bend - (last.lenb - last.lenc)  # without the line end, which the last line may lack
    if last.rlen and not _read_at(faidx, end - 1, 1).strip():
        return False
    return not _read_at(faidx, end, 1 << 16).strip()


def _read_at(faidx: Any, start: int, size: int) -> bytes:
    """Bytes of a file that pyfaidx has open, counted without compression."""
    blocks = getattr(faidx, "gzi_index", None)
    if blocks is None:
        faidx.file.seek(start)
        return faidx.file.read(max(size, 0))
    from Bio import bgzf

    block = blocks[max(bisect.bisect_right(blocks, start, key=lambda block: block.ustart) - 1, 0)]
    faidx.file.seek(bgzf.make_virtual_offset(block.cstart, start - block.ustart))
    return faidx.file.read(max(size, 0))


def _usable(places: list[Path], path: Path) -> bool:
    return all(place.is_file() and place.stat().st_mtime >= path.stat().st_mtime for place in places)


def _build_index(path: Path, beside: list[Path], cached: list[Path]) -> list[Path]:
    """Builds in a temporary place and moves the result beside the file, or into the cache where that is forbidden."""
    with tempfile.TemporaryDirectory(prefix="jaxepi_fasta_") as folder:
        built = [Path(folder) / place.name for place in cached]
        _open_fasta(path, built[0], built[-1], _Indexer).close()
        for places in (beside, cached):
            try:
                places[0].parent.mkdir(parents=True, exist_ok=True)
                for source, place in zip(built, places, strict=True):
                    with replacing(place) as partial:
                        shutil.copyfile(source, partial)
                return places
            except OSError as problem:
                reason = problem
    raise JaxepiError(
        f"{path} has no index, and one can be written neither beside it nor to {cached[0].parent} ({reason}): "
        f"run `samtools faidx {path}` where you may write, or set XDG_CACHE_HOME."
    )


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"
