"""Chromoformer genes: read depth of histone marks around the promoter and at the regions in contact, as bin sums.

Sums of depth at one base resolution R are stored once; means over coarser bins, logarithms, padding, strand and masks
are made by the task. A sum is exact where depths are whole numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.chromoformer.gene_table import FOLDS, Gene
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval

MARKS = ("H3K4me1", "H3K4me3", "H3K9me3", "H3K27me3", "H3K36me3", "H3K27ac", "H3K9ac")  # rows of the original's arrays
SUM_DTYPES = ("auto", "uint16", "float32")
GENES_PER_BLOCK = 32
_LARGEST_UINT16 = 65535


class SumsDoNotFit(JaxepiError):
    """Sums are no whole numbers up to 65535: another number type is needed."""


class DepthSource(Protocol):
    """Read depth of M marks: `DepthFiles` or `RegionArrays` of this package."""

    marks: tuple[str, ...]

    def promoter(self, gene: Gene, flank: int) -> tuple[np.ndarray, int]:
        """Depth (M, n) of [TSS - flank, TSS + flank) on the chromosome, and the offset of its first base."""
        ...

    def neighbor(self, gene: Gene, region: Interval) -> np.ndarray:
        """Depth (M, bp) of a region in contact with the gene."""
        ...


def bin_sums(depth: np.ndarray, resolution: int) -> np.ndarray:
    """Sums of depth (M, n) over bins of `resolution` bp from the left: (ceil(n / resolution), M) float64."""
    starts = np.arange(0, depth.shape[1], resolution)
    return np.add.reduceat(depth, starts, axis=1, dtype=np.float64).T


class ChromoformerRecipe(Recipe):
    """Genes of one cell type with the marks at their promoters and contacts, a split for each fold."""

    name = "chromoformer"

    def __init__(
        self,
        source: DepthSource,
        genes: Sequence[Gene],
        promoter_length: int = 40_000,
        resolution: int = 100,
        sum_dtype: str = "float32",
    ) -> None:
        """Args:
        source: depth of M marks.
        genes: in the order of the records.
        promoter_length: bp around the start site, a multiple of twice the resolution.
        resolution: R, bp of a bin.
        sum_dtype: uint16 or float32; see `SumsDoNotFit`.
        """
        self.source, self.genes, self.sum_dtype = source, tuple(genes), sum_dtype
        self.promoter_length, self.resolution = promoter_length, resolution

    def features(self) -> dict[str, Feature]:
        marks = len(self.source.marks)
        return {
            "key": Feature("text", None),
            "chrom": Feature("text", None),
            "start": Feature("int64"),
            "minus": Feature("uint8"),
            "fold": Feature("int64"),
            "expression": Feature("float32"),
            "label": Feature("int64"),
            "promoter_sum": Feature(self.sum_dtype, (self.promoter_length // self.resolution, marks)),
            "promoter_span": Feature("int32", (2,)),
            "pcre_length": Feature("int32", (None,)),
            "pcre_sum": Feature(self.sum_dtype, (None, marks)),
            "score": Feature("float32", (None,)),
            "neighbors": Feature("text", None),
        }

    def blocks(self) -> dict[str, list[Block]]:
        work = {}
        for fold in FOLDS:
            own = tuple(gene for gene in self.genes if gene.fold == fold)
            if own:
                work[f"fold{fold}"] = [
                    Block(first, len(own[first : first + GENES_PER_BLOCK]), own[first : first + GENES_PER_BLOCK])
                    for first in range(0, len(own), GENES_PER_BLOCK)
                ]
        return work

    def make_block(self, block: Block) -> BlockResult:
        tally = Tally(maxima={"max_pcres": 0, "max_pcre_length": 0})
        records = []
        for number, gene in enumerate(block.payload):
            record = self._record(gene)
            records.append((block.first_key + number, record))
            tally.add(
                records=1,
                positive=int(gene.label == 1),
                unlabelled=int(gene.label < 0),
                pcres=len(gene.neighbors),
                without_pcre=int(not gene.neighbors),
                promoters_cut=int(record["promoter_span"][1] - record["promoter_span"][0] < self.promoter_length),
            )
            tally.raise_to(
                max_pcres=len(gene.neighbors),
                max_pcre_length=max((region.length for region in gene.neighbors), default=0),
            )
        return BlockResult(records, tally)

    def _record(self, gene: Gene) -> Record:
        depth, first = self.source.promoter(gene, self.promoter_length // 2)
        whole = np.zeros((len(depth), self.promoter_length), depth.dtype)
        whole[:, first : first + depth.shape[1]] = depth
        pcres = [bin_sums(self.source.neighbor(gene, region), self.resolution) for region in gene.neighbors]
        nothing = np.zeros((0, len(depth)))
        return {
            "key": gene.gene_id,
            "chrom": gene.chrom,
            "start": gene.tss,
            "minus": int(gene.minus),
            "fold": gene.fold,
            "expression": gene.expression,
            "label": gene.label,
            "promoter_sum": self._stored(bin_sums(whole, self.resolution), gene),
            "promoter_span": np.array([first, first + depth.shape[1]], np.int32),
            "pcre_length": np.array([region.length for region in gene.neighbors], np.int32),
            "pcre_sum": self._stored(np.concatenate([nothing, *pcres]), gene),
            "score": np.array(gene.scores, np.float32),
            "neighbors": ";".join(map(str, gene.neighbors)),
        }

    def _stored(self, sums: np.ndarray, gene: Gene) -> np.ndarray:
        if self.sum_dtype == "uint16" and ((sums > _LARGEST_UINT16) | (sums % 1 != 0)).any():
            raise SumsDoNotFit(
                f"gene {gene.gene_id} has depth sums over {self.resolution} bp that are no whole numbers up to "
                f"{_LARGEST_UINT16}: use --sum-dtype float32, or a finer --resolution"
            )
        return sums.astype(self.sum_dtype)

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        maxima = Tally()
        for tally in tallies.values():
            maxima.raise_to(**tally.maxima)
        chroms = {f"fold{fold}": sorted({gene.chrom for gene in self.genes if gene.fold == fold}) for fold in FOLDS}
        return {
            "window": self.promoter_length,
            "promoter_length": self.promoter_length,
            "resolution": self.resolution,
            "marks": list(self.source.marks),
            "tracks": ["expression"],
            "sum_dtype": self.sum_dtype,
            **maxima.maxima,
            "splits": {
                split: {name: np.asarray(count).tolist() for name, count in tally.sums.items()}
                | {"chroms": chroms[split]}
                for split, tally in tallies.items()
            },
        }

    def bytes_per_record(self) -> int:
        regions = [region for gene in self.genes for region in gene.neighbors]
        rows = self.promoter_length // self.resolution
        rows += sum(-(-region.length // self.resolution) for region in regions) // max(len(self.genes), 1)
        return rows * len(self.source.marks) * np.dtype(self.sum_dtype).itemsize + 1000
