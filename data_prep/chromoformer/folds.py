"""Four cross-validation folds of whole chromosomes."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from data_prep.chromoformer.gene_table import FOLDS
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise

PAPER = {
    1: ("chr1", "chr5", "chr6", "chr8", "chr14", "chrY"),
    2: ("chr7", "chr10", "chr11", "chr12", "chr15", "chr21"),
    3: ("chr2", "chr3", "chr4", "chr16", "chr18", "chr20"),
    4: ("chr9", "chr13", "chr17", "chr19", "chr22", "chrX"),
}


def assign_folds(words: Sequence[str], genes_on: Mapping[str, int]) -> dict[str, int]:
    """Fold of each chromosome; chromosomes left out are in none.

    Args:
        words: `paper` (the groups of human chromosomes of the publication), `balanced` (chromosomes by decreasing
            number of genes, each to the fold with the fewest), or four of `1=chr1,chr5 2=…`.
        genes_on: chromosome -> number of genes.

    Raises:
        JaxepiError: if the words are something else, or a chromosome is in two folds.
    """
    words = list(words)
    if words == ["paper"]:
        fold_of = {chrom: fold for fold, chroms in PAPER.items() for chrom in chroms}
        return {chrom: fold_of[name] for chrom in genes_on if (name := harmonise(chrom, "add")) in fold_of}
    if words == ["balanced"]:
        return _balanced(genes_on)
    return _as_given(words)


def folds_of_genes(words: Sequence[str], chrom_of: Mapping[str, str], source: str) -> dict[str, int]:
    """Fold of each gene; genes whose chromosome is in no fold are left out, with a notice.

    Args:
        words: see `assign_folds`.
        chrom_of: gene -> chromosome.
        source: where the genes come from, for messages.

    Raises:
        JaxepiError: if no gene is left, or the words are wrong.
    """
    fold_of = assign_folds(words, Counter(chrom_of.values()))
    kept = {gene: fold_of[chrom] for gene, chrom in chrom_of.items() if chrom in fold_of}
    if not kept:
        raise JaxepiError(
            f"no gene of {source} lies on a chromosome of --folds {' '.join(words)}: it calls them "
            f"{', '.join(sorted(set(chrom_of.values()))[:3])}, so use --chrom-prefix, or --folds balanced"
        )
    if len(kept) < len(chrom_of):
        outside = sorted(set(chrom_of.values()) - set(fold_of))
        print(
            f"{len(chrom_of) - len(kept)} genes on {', '.join(outside[:5])} are in no fold: left out", file=sys.stderr
        )
    return kept


def _balanced(genes_on: Mapping[str, int]) -> dict[str, int]:
    sizes = dict.fromkeys(FOLDS, 0)
    chosen = {}
    for chrom in sorted(genes_on, key=lambda name: (-genes_on[name], name)):
        fold = min(sizes, key=lambda number: (sizes[number], number))
        chosen[chrom] = fold
        sizes[fold] += genes_on[chrom]
    return chosen


def _as_given(words: Sequence[str]) -> dict[str, int]:
    chosen: dict[str, int] = {}
    for word in words:
        number, _, chroms = word.partition("=")
        if number not in map(str, FOLDS) or not chroms:
            raise JaxepiError(
                f"--folds {word}: `paper`, `balanced`, or groups such as 1=chr1,chr5 2=chr7,chr10 were expected"
            )
        for chrom in chroms.split(","):
            if chosen.setdefault(chrom, int(number)) != int(number):
                raise JaxepiError(
                    f"--folds puts {chrom} into fold {chosen[chrom]} and fold {number}: a chromosome belongs to one"
                )
    return chosen
