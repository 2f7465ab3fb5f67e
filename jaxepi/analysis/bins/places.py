"""Regions of a genome as one names them: `chrom:start-end`, or genes of an annotation; and the windows they get."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Gene, find_genes
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Interval
from jaxepi.regions import as_interval

_BETWEEN = re.compile(r",(?=[^,:]+:)")  # a comma between regions, not one of thousands


@dataclasses.dataclass(frozen=True)
class Place:
    """A region to predict.

    Attributes:
      interval: what the windows are laid over.
      gene: the name under which it was asked for, "" if by its place.
      tss: 0-based position of the gene's start site; None without a gene.
      minus: whether the gene lies on the minus strand.
      other_sites: further start sites that the gene has.
    """

    interval: Interval
    gene: str = ""
    tss: int | None = None
    minus: bool = False
    other_sites: int = 0

    def __str__(self) -> str:
        return self.gene or str(self.interval)

    @property
    def about(self) -> str:
        """The region, of a gene its start site."""
        if self.tss is None:
            return str(self.interval)
        others = f", one of {self.other_sites + 1} start sites" if self.other_sites else ""
        return f"{self.gene}, TSS {self.interval.chrom}:{self.tss} ({'-' if self.minus else '+'}{others})"


def read_regions(texts: Iterable[str]) -> list[Place]:
    """Places of `chrom:start-end`, 0-based half-open; a text may hold several, with commas between them.

    Raises:
      JaxepiError: a text is no region.
    """
    regions = [part.strip() for text in texts for part in _BETWEEN.split(text)]
    return [Place(as_interval(part)) for part in regions]


def places_of_genes(names: Sequence[str], gtf: str | os.PathLike[str], genome: Genome) -> list[Place]:
    """The start sites of genes, on which windows are then centred; see `jaxepi.genome.annotation.find_genes`.

    Raises:
      JaxepiError: no such gene, several of a name, or one that does not lie in the genome.
    """
    path = Path(gtf)
    genes = find_genes(path, names, genome.lengths.keys())
    return [_place(gene, name, path, genome) for gene, name in zip(genes, names, strict=True)]


def _place(gene: Gene, name: str, path: Path, genome: Genome) -> Place:
    tss = gene.sites[0]
    genome.require([tss.chrom], f"{path}, gene {name!r},")
    if tss.position >= genome.lengths[tss.chrom]:
        raise JaxepiError(
            f"{path} has the gene {name!r} at {tss}, but {tss.chrom} has {genome.lengths[tss.chrom]} bp in "
            f"{genome.path}: use files of the same genome build."
        )
    interval = Interval(tss.chrom, tss.position, tss.position + 1)
    return Place(interval, name, tss.position, tss.minus, len(gene.sites) - 1)


def windows_told(places: Sequence[Place], plan: BinPlan) -> list[str]:
    """For each place a sentence with the windows that predict it, and the bins that are written of them."""
    starts, ends = plan.sites
    edges = np.searchsorted(plan.region, np.arange(len(places) + 1))
    told = []
    for place, first, after in zip(places, edges[:-1], edges[1:], strict=True):
        chrom, count, last = place.interval.chrom, after - first, after - 1
        seen = f"{chrom}:{plan.start[first]}-{plan.start[last] + plan.window}"
        windows = f"window {seen}" if count == 1 else f"{count} windows over {seen}"
        told.append(f"{place.about}: {windows}, bins {chrom}:{starts[first]}-{ends[last]}")
    return told
