"""Read depth from the original's region files: `chrom:start-end.npy`, arrays (marks, bp) of depth per base."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.dataset import file_digest
from data_prep.chromoformer.gene_table import Gene
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval

FILE_FLANK = 20_000  # bp to each side of the start site that the file of a promoter holds
_ENDING = ".npy"
_DIGESTED_WHOLE = 64


class RegionArrays:
    """A folder of .npy files, or one .npz file with arrays of the same names; safe to send to other processes."""

    def __init__(self, path: Path, marks: Sequence[str], lengths: Mapping[str, int] | None = None) -> None:
        """Args:
        path: the folder or the .npz file.
        marks: names of the M rows of every array.
        lengths: chromosome lengths, if known: promoters may then end at the ends of chromosomes.
        """
        if not path.exists():
            raise JaxepiError(f"{path} does not exist: --npy-dir needs the folder of region files or an .npz file")
        self.path, self.marks, self.lengths = path.absolute(), tuple(marks), dict(lengths or {})
        self._archive: Any = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_archive": None, "_pid": -1}

    def names(self) -> set[str]:
        """Names of the arrays that are there."""
        if self.path.is_dir():
            return {name.removesuffix(_ENDING) for name in os.listdir(self.path) if name.endswith(_ENDING)}
        return set(self._open().files)

    def check(self, genes: Sequence[Gene], genes_file: Path) -> None:
        """Raises JaxepiError if an array that a gene needs is missing."""
        there = self.names()
        for gene in genes:
            for region in (_promoter_file(gene), *gene.neighbors):
                if str(region) not in there:
                    what = "promoter" if region == _promoter_file(gene) else "neighbour"
                    raise JaxepiError(
                        f"gene {gene.gene_id} of {genes_file} needs the array of its {what} {region}, which "
                        f"{self._place(region)} lacks: extract it, or take the gene out of the table"
                    )

    def describe(self, genes: Sequence[Gene]) -> dict[str, Any]:
        """The entry of the manifest. Of a folder, names and sizes of the needed files count, and 64 of them whole."""
        entry = {"role": "npy", "path": str(self.path)}
        if not self.path.is_dir():
            return entry | {"bytes": self.path.stat().st_size, "digest": file_digest(self.path)}
        needed = sorted({str(region) for gene in genes for region in (_promoter_file(gene), *gene.neighbors)})
        digest, total = hashlib.blake2b(digest_size=16), 0
        for name in needed:
            size = (self.path / f"{name}{_ENDING}").stat().st_size
            digest.update(f"{name} {size}\n".encode())
            total += size
        for i in np.unique(np.linspace(0, len(needed) - 1, _DIGESTED_WHOLE, dtype=np.int64)):
            path = self.path / f"{needed[i]}{_ENDING}"
            try:
                digest.update(path.read_bytes())
            except OSError as error:
                raise JaxepiError(f"{path} cannot be read ({error.strerror}): extract the array again") from error
        return entry | {"bytes": total, "digest": digest.hexdigest()}

    def promoter(self, gene: Gene, flank: int) -> tuple[np.ndarray, int]:
        """Depth (M, n) float32 at [TSS - flank, TSS + flank) as far as it lies on the chromosome, and its first offset.

        Raises:
            JaxepiError: if the array has another size than the 40,000 bp of the original, or `flank` is larger.
        """
        region = _promoter_file(gene)
        depth = self._read(gene, region)
        low = max(region.start, 0)
        high = min(region.end, self.lengths.get(gene.chrom, region.end))
        if depth.shape[1] != high - low:
            raise JaxepiError(
                f"gene {gene.gene_id} has a promoter array of {depth.shape[1]} bp in {self._place(region)}: "
                f"{high - low} bp were expected{self._hint(gene)}"
            )
        first, last = max(gene.tss - flank, low), min(gene.tss + flank, high)
        return depth[:, first - low : last - low], first - (gene.tss - flank)

    def _hint(self, gene: Gene) -> str:
        return "" if gene.chrom in self.lengths else " (give --chrom-sizes if it lies at the end of its chromosome)"

    def neighbor(self, gene: Gene, region: Interval) -> np.ndarray:
        """Depth (M, bp) float32 of a neighbour. Raises JaxepiError if the array has another length."""
        depth = self._read(gene, region)
        if depth.shape[1] != region.length:
            raise JaxepiError(
                f"gene {gene.gene_id} has a neighbour array of {depth.shape[1]} bp in {self._place(region)}: "
                f"{region.length} bp were expected"
            )
        return depth

    def _read(self, gene: Gene, region: Interval) -> np.ndarray:
        place = self._place(region)
        try:
            depth = np.load(place) if self.path.is_dir() else self._open()[str(region)]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise JaxepiError(
                f"gene {gene.gene_id} needs {place}, which is missing or damaged ({type(error).__name__}): extract the "
                "array again"
            ) from error
        if depth.ndim != 2 or depth.dtype.kind not in "biuf":
            raise JaxepiError(
                f"gene {gene.gene_id} has an array of shape {depth.shape} and type {depth.dtype} in {place}: numbers "
                "(marks, bp) were expected"
            )
        if len(depth) != len(self.marks):
            raise JaxepiError(
                f"gene {gene.gene_id} has {len(depth)} marks in {place}: {len(self.marks)} were expected "
                f"({', '.join(self.marks)}), so extract the array again or change --marks"
            )
        depth = depth.astype(np.float32)  # float16 must not be added up
        if not (np.isfinite(depth).all() and depth.min(initial=0) >= 0):
            raise JaxepiError(
                f"gene {gene.gene_id} has depths below 0 or not finite in {place}: read depth was expected"
            )
        return depth

    def _place(self, region: Interval) -> str:
        return str(self.path / f"{region}{_ENDING}") if self.path.is_dir() else f"{self.path} ({region})"

    def _open(self) -> Any:
        if self._pid != os.getpid():
            try:
                self._archive = np.load(self.path)
            except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
                raise JaxepiError(f"{self.path} is no readable .npz file: copy it again") from error
            if not hasattr(self._archive, "files"):
                raise JaxepiError(f"{self.path} holds one array: a folder of region files or an .npz was expected")
            self._pid = os.getpid()
        return self._archive


def _promoter_file(gene: Gene) -> Interval:
    return Interval(gene.chrom, gene.tss - FILE_FLANK, gene.tss + FILE_FLANK)
