"""A score a base along the genome from a BigWig file, such as conservation (phastCons, phyloP)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.sources import preflight
from data_prep.sources.tracks import TrackFile, TrackReader, read_header
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise_all

LARGEST = float(np.finfo(np.float16).max)


class PerBaseTrack:
    """Scores of one BigWig file as float16; a base without one counts as 0. Safe to pickle."""

    def __init__(self, path: Path, lengths: Mapping[str, int], prefix: str = "as-is") -> None:
        """Args:
        path: BigWig file.
        lengths: of the genome's chromosomes, by their harmonised names.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        """
        self.path, self._lengths, self._prefix = path, dict(lengths), prefix
        self._track = TrackFile("conservation", path)
        self._reader = TrackReader([self._track], prefix)

    def check(self, fasta: Path, extra: str) -> list[str]:
        """Compares the file with the genome.

        Args:
            fasta: for the sentence.
            extra: `error` or `ignore` chromosomes that the genome lacks.

        Returns:
            Chromosomes of the genome that the file lacks.

        Raises:
            JaxepiError: it is damaged, or of another genome: other names, or another length of a chromosome.
        """
        header = read_header(self._track)
        own = {name: header[given] for name, given in harmonise_all(list(header), self._prefix).items()}
        preflight.check_track(fasta, self._lengths, self.path, own, extra)
        return [chrom for chrom in self._lengths if chrom not in own]

    def read(self, chrom: str, start: int, end: int) -> tuple[np.ndarray, dict[str, int]]:
        """Scores (end - start,) float16 of a stretch, which may reach beyond its chromosome, where they are 0.

        Returns:
            The scores, and counts: bases without one (`missing`), and scores outside 0 to 1 (`outside`).

        Raises:
            JaxepiError: a score that is infinite or does not fit into float16, or a damaged file.
        """
        values = np.full(end - start, np.nan, np.float32)
        low, high = max(start, 0), min(end, self._lengths[chrom])
        if low < high:
            values[low - start : high - start] = self._reader.read(0, chrom, low, high)
        missing = np.isnan(values)
        values[missing] = 0
        wrong = np.flatnonzero(np.abs(values) > LARGEST)
        if len(wrong):
            at = start + int(wrong[0])
            raise JaxepiError(
                f"{self.path} has the score {values[wrong[0]]:g} at {chrom}:{at}-{at + 1}: a number from -65,504 to "
                "65,504 was expected (phastCons lies between 0 and 1), so make the file again"
            )
        outside = int(np.count_nonzero((values < 0) | (values > 1)))
        return values.astype(np.float16), {"missing": int(missing.sum()), "outside": outside}
