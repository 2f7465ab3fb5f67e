"""Sequence of a genome FASTA, plain or block-gzipped, as base codes. Intervals are 0-based half-open."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyfaidx

from jaxepi import sequence
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.storage.atomic import replacing


class Genome:
    """Random access to the contigs of a FASTA file.

    The index (`.fai`, and `.gzi` for a block-gzipped file) is used if it lies beside the file and is not older. If not,
    it is built and put there; where that is not permitted it is kept in the user's cache directory. An object may be
    pickled or copied into other processes: each opens the file for itself. Threads may share one.

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
        fai, gzi = _index(self.path)
        self._fasta = _open_fasta(self.path, fai, gzi)
        self._process = os.getpid()
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
          JaxepiError: unknown contig, an interval that leaves it (without `pad`), or an unreadable file.
        """
        if chrom not in self.lengths:
            raise JaxepiError(self.unknown(chrom, "The interval asked for"))
        length = self.lengths[chrom]
        end = length if end is None else end
        if not pad and not 0 <= start <= end <= length:
            raise JaxepiError(f"{chrom}:{start}-{end} is not inside {chrom} of {self.path}, which has {length} bp.")
        low, high = max(start, 0), min(end, length)
        inside = sequence.encode(self._letters(chrom, low, high)) if low < high else np.empty(0, np.uint8)
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

    def _letters(self, chrom: str, start: int, end: int) -> str:
        if os.getpid() != self._process:  # a forked child must not share the parent's file position
            self._open()
        try:
            return self._fasta[chrom][start:end]
        except (OSError, ValueError, EOFError, pyfaidx.FetchError) as problem:
            raise JaxepiError(f"Cannot read {chrom}:{start}-{end} of {self.path} ({problem}).") from problem

    def unknown(self, chrom: str, who: str) -> str:
        """The sentence for a contig name that this file does not have; `who` names the file that asked for it."""
        other = chrom.removeprefix("chr") if chrom.startswith("chr") else f"chr{chrom}"
        if other in self.lengths:
            return f"{who} names {chrom!r} where {self.path} has {other!r}: use the same style of names in both."
        first = ", ".join(self.names[:3])
        near = did_you_mean(chrom, self.lengths)
        return f"{who} names {chrom!r}, which is not in {self.path}{near}; its contigs are {first} ..."

    def require(self, chroms: Iterable[str], who: str) -> None:
        """Raises JaxepiError for the first of `chroms` that this file does not have; `who` names who asks."""
        for chrom in chroms:
            if chrom not in self.lengths:
                raise JaxepiError(self.unknown(chrom, who))


def _open_fasta(path: Path, fai: Path, gzi: Path) -> pyfaidx.Fasta:
    """Opens with the index at the given places, building it there if it is missing."""
    gzi_name = str(gzi) if _is_gzip(path) else None
    try:
        return pyfaidx.Fasta(str(path), as_raw=True, rebuild=False, indexname=str(fai), gzi_indexname=gzi_name)
    except pyfaidx.UnsupportedCompressionFormat as problem:
        raise JaxepiError(
            f"{path} is gzipped in one piece, which allows no random access: "
            f"recompress it in blocks (gunzip -c {path.name} | bgzip > new.fa.gz) or unpack it."
        ) from problem
    except (pyfaidx.FastaIndexingError, pyfaidx.IndexNotFoundError, ValueError, EOFError) as problem:
        raise JaxepiError(f"{path} cannot be read as FASTA ({problem}).") from problem
    except OSError as problem:
        raise JaxepiError(f"Cannot read {path} or write its index {fai} ({problem}).") from problem


def _index(path: Path) -> tuple[Path, Path]:
    """Places of the .fai and .gzi, built if there are none that are usable."""
    parts = (".fai", ".gzi") if _is_gzip(path) else (".fai",)
    beside = [Path(f"{path}{part}") for part in parts]
    about = path.stat()
    identity = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"
    digest = hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxepi" / "fasta_index" / digest
    cached = [cache / f"genome.fa{part}" for part in parts]
    if not _usable(beside, path) and not all(place.is_file() for place in cached):
        beside_or_cached = _build_index(path, beside, cached)
    else:
        beside_or_cached = beside if _usable(beside, path) else cached
    return beside_or_cached[0], beside_or_cached[-1]


def _usable(places: list[Path], path: Path) -> bool:
    return all(place.is_file() and place.stat().st_mtime >= path.stat().st_mtime for place in places)


def _build_index(path: Path, beside: list[Path], cached: list[Path]) -> list[Path]:
    """Builds in a temporary place and moves the result beside the file, or into the cache where that is forbidden."""
    with tempfile.TemporaryDirectory(prefix="jaxepi_fasta_") as folder:
        built = [Path(folder) / place.name for place in cached]
        _open_fasta(path, built[0], built[-1]).close()
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
