"""From annotation, expression and contacts to the table of genes: target genes, start site, label, fold, neighbours."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_prep.chromoformer.contacts import Contacts, select_neighbors
from data_prep.chromoformer.folds import folds_of_genes
from data_prep.chromoformer.gene_table import UNKNOWN_LABEL, Gene
from data_prep.sources.expression import label_by_median
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss
from jaxepi.genome.intervals import Interval


@dataclass(frozen=True)
class Sources:
    """What genes are made of, and how messages call it."""

    sites: Mapping[str, Sequence[Tss]]  # start sites per gene, the preferred one first
    sites_name: str
    expression: Mapping[str, float] | None = None  # None = unknown for all
    expression_name: str = ""
    chosen: frozenset[str] | None = None  # gene list; None = all
    chosen_name: str = ""
    fragments: Mapping[str, Interval | None] | None = None  # see `contacts.select_neighbors`


def target_genes(sources: Sources) -> list[str]:
    """Ids, sorted, of genes that all sources know. Raises JaxepiError if there is none."""
    genes = set(sources.sites)
    others = ((sources.expression, sources.expression_name), (sources.chosen, sources.chosen_name))
    for other, name in others:
        if other is None:
            continue
        if not genes & set(other):
            raise JaxepiError(
                f"{name} ({_first(other)} …) shares no gene with {sources.sites_name} ({_first(genes)} …): use the "
                "same kind of gene ids, see also --gene-versions"
            )
        genes &= set(other)
    return sorted(genes)


def _first(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:2])


def assemble(
    sources: Sources,
    folds: Sequence[str],
    contacts_of: Callable[[list[Sequence[Tss]]], Contacts] | None,
    max_neighbors: int,
) -> list[Gene]:
    """Genes by id: the first start site, neighbours of all of them, label by the median of the genes in a fold.

    Args:
        sources: see there.
        folds: words of `folds.assign_folds`; genes whose chromosome is in no fold are left out, with a notice.
        contacts_of: gives the contacts for the start sites of the target genes; None = no neighbours.
        max_neighbors: how many to keep, best first.

    Raises:
        JaxepiError: if no gene is left.
    """
    targets = target_genes(sources)
    chrom_of = {gene: sources.sites[gene][0].chrom for gene in targets}
    kept = folds_of_genes(folds, chrom_of, sources.sites_name)
    sites = [sources.sites[gene] for gene in kept]
    contacts = contacts_of(sites) if contacts_of is not None else Contacts()
    if contacts_of is not None:
        _check_chromosomes(contacts, sources, {chrom_of[gene] for gene in kept})
    expression = sources.expression
    labels = label_by_median({gene: expression[gene] for gene in kept}) if expression is not None else {}
    genes = []
    for gene, own in zip(kept, sites, strict=True):
        regions, scores = select_neighbors(contacts, own, max_neighbors, sources.fragments)
        value = math.nan if expression is None else expression[gene]
        first = own[0]
        place = (first.chrom, first.position, first.minus, kept[gene])
        genes.append(Gene(gene, *place, value, labels.get(gene, UNKNOWN_LABEL), regions, scores))
    if contacts_of is not None and max_neighbors and not any(gene.neighbors for gene in genes):
        print("warning: no gene has a neighbour: check fragments, scores and genome build", file=sys.stderr)
    return genes


def _check_chromosomes(contacts: Contacts, sources: Sources, chroms: set[str]) -> None:
    if not contacts.chroms & chroms:
        raise JaxepiError(
            f"the contacts lie on {', '.join(sorted(contacts.chroms)[:3])} and the genes of {sources.sites_name} on "
            f"{', '.join(sorted(chroms)[:3])}: no chromosome is shared, so use the same genome or --chrom-prefix"
        )
