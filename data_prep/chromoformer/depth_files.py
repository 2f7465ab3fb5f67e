"""Read depth of several histone marks around genes, one BAM or BigWig file each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.chromoformer.gene_table import Gene
from data_prep.sources.depth import BamDepth, BigWigDepth, depth_chromosomes, is_bam
from data_prep.sources.preflight import check_track
from data_prep.sources.tracks import TrackFile
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise_all
from jaxepi.genome.intervals import Interval


class _DepthFile(Protocol):
    def read(self, chrom: str, start: int, end: int) -> np.ndarray: ...


class DepthFiles:
    """Depth of M marks, one file each; safe to send to other processes."""

    def __init__(
        self, tracks: Sequence[TrackFile], prefix: str = "as-is", reads: str = "primary", max_depth: float | None = None
    ) -> None:
        """Opens nothing but the headers.

        Args:
            tracks: name and file per mark, BAM by the ending .bam, BigWig otherwise.
            prefix: see `jaxepi.genome.chroms.harmonise`.
            reads: see `BamDepth`.
            max_depth: depth above this counts as this; None = no cap.

        Raises:
            JaxepiError: if a file is missing, damaged, without index, or of another genome build than the first.
        """
        self.tracks, self.marks, self.max_depth = tuple(tracks), tuple(track.name for track in tracks), max_depth
        self.path = tracks[0].path
        headers = []
        for track in tracks:
            own = depth_chromosomes(track)
            headers.append({name: own[file_name] for name, file_name in harmonise_all(list(own), prefix).items()})
            check_track(self.path, headers[0], track.path, headers[-1], "ignore")
        self.lengths = {name: size for name, size in headers[0].items() if all(name in own for own in headers)}
        self._chroms = [frozenset(own) for own in headers]
        self._files: list[_DepthFile] = [
            BamDepth(track, prefix, reads) if is_bam(track.path) else BigWigDepth(track, prefix) for track in tracks
        ]

    def check(self, genes: Sequence[Gene], genes_file: Path) -> None:
        """Raises JaxepiError if a file lacks the chromosome of a gene or of a neighbour."""
        for gene in genes:
            for chrom in (gene.chrom, *(region.chrom for region in gene.neighbors)):
                if chrom in self.lengths:
                    continue
                track, own = next(pair for pair in zip(self.tracks, self._chroms, strict=True) if chrom not in pair[1])
                raise JaxepiError(
                    f"gene {gene.gene_id} of {genes_file} needs the depth of {chrom}, which {track.path} lacks (it has "
                    f"{', '.join(sorted(own)[:3])} …): use files of the same genome, or --chrom-prefix"
                )

    def promoter(self, gene: Gene, flank: int) -> tuple[np.ndarray, int]:
        """Depth (M, n) float32 at [TSS - flank, TSS + flank) on the chromosome, and the offset of its first base."""
        first, last = max(gene.tss - flank, 0), min(gene.tss + flank, self.lengths[gene.chrom])
        return self._read(gene.chrom, first, last), first - (gene.tss - flank)

    def neighbor(self, gene: Gene, region: Interval) -> np.ndarray:
        """Depth (M, bp) float32 of a neighbour of the gene."""
        return self._read(*region)

    def _read(self, chrom: str, start: int, end: int) -> np.ndarray:
        depth = np.stack([file.read(chrom, start, end) for file in self._files])
        return depth if self.max_depth is None else np.minimum(depth, np.float32(self.max_depth))
