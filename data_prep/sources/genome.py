"""The genome as data preparation sees it: `jaxepi.genome.fasta.Genome` with chromosome names brought to one form."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from jaxepi.genome import fasta as genome
from jaxepi.genome.chroms import harmonise_all


class Genome:
    """A FASTA file whose chromosomes go by their harmonised names; safe to pickle and to use in forked processes."""

    def __init__(self, path: str | os.PathLike[str], prefix: str = "as-is") -> None:
        """Opens the file.

        Args:
            path: FASTA, plain or block-gzipped.
            prefix: see `jaxepi.genome.chroms.harmonise`.

        Raises:
            JaxepiError: see `jaxepi.genome.fasta.Genome`.
        """
        self._file = genome.Genome(path)
        self.path = self._file.path.absolute()
        self._file_name = harmonise_all(self._file.names, prefix)
        self.lengths: dict[str, int] = {name: self._file.lengths[own] for name, own in self._file_name.items()}

    def codes(self, chrom: str, start: int, end: int) -> np.ndarray:
        """Base codes (end - start,) uint8 of an interval, 0-based half-open; what lies outside the chromosome is N."""
        return self._file.codes(self._file_name[chrom], start, end, pad=True)

    def take_counts(self) -> tuple[int, int]:
        """See `jaxepi.genome.fasta.Genome.take_counts`."""
        return self._file.take_counts()


class Counting(Protocol):
    """Sequence that counts what is read of it: `Genome`, or several of them."""

    def codes(self, chrom: str, start: int, end: int) -> np.ndarray: ...

    def take_counts(self) -> tuple[int, int]: ...


def ambiguous_bases(genome: Counting, chrom: str, starts: Sequence[int], window: int) -> int:
    """How many letters of windows are ambiguity codes other than N.

    Windows are read one by one only if there were any in what was read since the last call of `take_counts`, so that
    the count does not depend on what was read at once, and costs nothing where there are none.
    """
    _, found = genome.take_counts()
    for start in starts if found else ():
        genome.codes(chrom, start, start + window)
    return genome.take_counts()[1]


def ambiguity_note(counts: Mapping[str, Any]) -> str:
    """What a line about a split says on its ambiguity codes; nothing without any."""
    ambiguous = counts.get("ambiguous_bases", 0)  # datasets of earlier versions do not tell
    return f" ({ambiguous} bases of them ambiguity codes)" if ambiguous else ""
