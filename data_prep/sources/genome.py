"""The genome as data preparation sees it: `jaxepi.genome.fasta.Genome` with chromosome names brought to one form."""

import os
from collections.abc import Mapping
from typing import Any

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


def ambiguity_note(counts: Mapping[str, Any]) -> str:
    """What a line about a split says on its ambiguity codes; nothing without any."""
    ambiguous = counts.get("ambiguous_bases", 0)  # datasets of earlier versions do not tell
    return f" ({ambiguous} of {counts['bases_read']} bases read are ambiguity codes, taken as N)" if ambiguous else ""
