"""Sequence of a genome FASTA, plain or block-gzipped, as base codes. Intervals are 0-based half-open."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxepi import sequence
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import naming_error, other_name
from jaxepi.genome.fasta_index import open_indexed, told_by


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
        self._fasta = open_indexed(self.path)
        self._process = os.getpid()
        self._bases_read = self._ambiguous = 0
        self._taken = (0, 0)  # of these two, what `take_counts` has given
        self._told = False
        self.lengths = {name: record.rlen for name, record in self._fasta.faidx.index.items()}

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
                f"{self.path} cannot be read at {chrom}:{start}-{end} ({told_by(problem)}): the file is damaged, copy "
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
