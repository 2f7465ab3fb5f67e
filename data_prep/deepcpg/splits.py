"""Which CpG sites a DeepCpG dataset has, and the split that each belongs to."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.deepcpg.recipe import SiteTable
from data_prep.deepcpg.store import CellStore
from data_prep.sources import regions
from data_prep.sources.preflight import check_naming
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Intervals
from jaxepi.genome.text_files import read_bed

REST, NONE = "rest", "none"
# Hold-out of the DeepCpG paper.
PAPER_SPLITS = {
    "train": ("1", "3", "5", "7", "9", "11"),
    "valid": (REST,),
    "test": ("2", "4", "6", "8", "10", "12"),
}
_NO_END = 2**31 - 1
_PROFILES = "a profile"
_LOOKED_AT = 1 << 20


def choose_sites(
    store: CellStore,
    given: Mapping[str, np.ndarray] | None,
    least: int,
    most: int | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Sites (S,) int32 per chromosome, chromosomes sorted by name as text.

    Args:
        store: the cells.
        given: sites of a positions file; None = all that a cell was observed at.
        least: cells that must be observed at a site.
        most: sites a chromosome, drawn at random; None = all. Neighbours are not thinned out.
        seed: of that draw.
    """
    chosen: dict[str, np.ndarray] = {}
    for number, chrom in enumerate(sorted(store.chromosomes() if given is None else given)):
        if given is None:
            sites = store.sites(chrom, least)
        else:
            sites = given[chrom] if least == 0 else given[chrom][store.covered(chrom, given[chrom], least)]
        if most is not None and len(sites) > most:
            generator = np.random.default_rng([seed, number])
            sites = np.sort(generator.choice(sites, most, replace=False, shuffle=False))
        if len(sites):
            chosen[chrom] = sites
    if not chosen:
        raise JaxepiError(
            f"no site is left: none was observed in {least} or more of {len(store)} cells, so lower --cpg-cov"
        )
    return chosen


def split_by_chromosome(
    sites: Mapping[str, np.ndarray], named: Mapping[str, Sequence[str] | None]
) -> dict[str, SiteTable]:
    """Sites of whole chromosomes per split.

    Args:
        sites: per chromosome.
        named: per split the chromosomes, with or without `chr`; (`rest`,) = those in no other list, (`none`,) = no such
            split; None = those of the paper.

    Raises:
        JaxepiError: a chromosome in two splits, or without a site, or a split without a site.
    """
    wanted = {split: tuple(PAPER_SPLITS[split] if own is None else own) for split, own in named.items()}
    owner: dict[str, str] = {}
    takes_rest = [split for split, own in wanted.items() if own == (REST,)]
    if len(takes_rest) > 1:
        raise JaxepiError(f"--{takes_rest[0]}-chroms and --{takes_rest[1]}-chroms are both `rest`: only one can be")
    for split, own in wanted.items():
        for name in () if own in ((REST,), (NONE,)) else own:
            key = harmonise(name, "strip")
            if owner.setdefault(key, split) != split:
                raise JaxepiError(
                    f"{name} is in --{owner[key]}-chroms and in --{split}-chroms: a chromosome belongs to one split"
                )
            if named[split] is not None and key not in {harmonise(chrom, "strip") for chrom in sites}:
                raise JaxepiError(
                    f"--{split}-chroms names {name}{did_you_mean(name, sites)}, where no cell has a site: name "
                    f"chromosomes of the profiles, such as {', '.join(list(sites)[:3])}"
                )
    rest = takes_rest[0] if takes_rest else None
    tables: dict[str, dict[str, np.ndarray]] = {split: {} for split, own in wanted.items() if own != (NONE,)}
    for chrom, own in sites.items():
        split = owner.get(harmonise(chrom, "strip"), rest)
        if split is not None:
            tables[split][chrom] = own
    return _without_empty(tables, named)


def _without_empty(
    tables: Mapping[str, Mapping[str, np.ndarray]], named: Mapping[str, Sequence[str] | None]
) -> dict[str, SiteTable]:
    """Leaves out splits of the paper that these data do not have; training, and named splits, must have sites."""
    for split, own in tables.items():
        if not own and (split == "train" or named.get(split) is not None):
            raise JaxepiError(
                f"split {split!r} is empty: no cell has a site on its chromosomes, so name others with "
                f"--{split}-chroms ({split} can be `{NONE}`)"
            )
    return {split: SiteTable(own) for split, own in tables.items() if own}


def split_by_regions(
    path: Path, sites: Mapping[str, np.ndarray], prefix: str, lengths: Mapping[str, int] | None = None
) -> dict[str, SiteTable]:
    """Sites per split from a BED file whose fourth column names the split, splits in the order of the file.

    Args:
        path: the file; how many of its regions lie where no cell has a site is told on stderr.
        sites: of the dataset, per chromosome.
        prefix: see `jaxepi.genome.chroms.harmonise`.
        lengths: bases of each chromosome of the FASTA, if there is one.

    Raises:
        JaxepiError: a region beyond its chromosome, regions of two splits that overlap, or a split without a site.
    """
    chroms = [row.interval.chrom for row in read_bed(path, prefix)]
    check_naming(path, chroms, _PROFILES, sites)
    elsewhere = sum(chrom not in sites for chrom in chroms)
    if elsewhere:
        print(f"warning: {elsewhere} regions of {path} lie on chromosomes where no cell has a site", file=sys.stderr)
    spans = regions.split_by_regions(path, {chrom: (lengths or {}).get(chrom, _NO_END) for chrom in chroms}, prefix)
    tables: dict[str, dict[str, np.ndarray]] = {}
    for split, own in spans.items():
        inside = {chrom: np.zeros(len(of_chrom), bool) for chrom, of_chrom in sites.items()}
        for span in own:
            if span.chrom in sites:
                low, high = np.searchsorted(sites[span.chrom], [span.start, span.end])
                inside[span.chrom][low:high] = True
        tables[split] = {chrom: sites[chrom][mask] for chrom, mask in inside.items() if mask.any()}
        if not tables[split]:
            raise JaxepiError(
                f"{path}: no site lies in a region of split {split!r}: use regions of the profiles' genome"
            )
    return {split: SiteTable(own) for split, own in tables.items()}


def read_annotation(path: Path, prefix: str, sites: Iterable[str], least: int = 0) -> Intervals:
    """Regions of a BED file, those shorter than `least` bp extended; `sites` are the chromosomes of the dataset.

    Raises:
        JaxepiError: there is none, or chromosomes are named otherwise.
    """
    annotated = Intervals.of(row.interval for row in read_bed(path, prefix))
    if not len(annotated):
        raise JaxepiError(f"{path} holds no region: lines with chromosome, start and end were expected")
    check_naming(path, annotated.present, _PROFILES, sites)
    if not set(annotated.present) & set(sites):
        print(f"warning: no region of {path} lies on a chromosome where a cell has a site", file=sys.stderr)
    return annotated.extended(least)


def check_cells(store: CellStore, splits: Mapping[str, SiteTable]) -> None:
    """Every cell was observed at a site of every split.

    Raises:
        JaxepiError: otherwise; the sentence names the file.
    """
    for split, table in splits.items():
        for number, cell in enumerate(store.cells):
            if not any(_observed(store, number, chrom, own) for chrom, own in table.sites.items()):
                raise JaxepiError(
                    f"{cell.path}: cell {cell.name!r} was observed at none of the {len(table)} sites of split "
                    f"{split!r}: leave the cell out, choose other splits, or allow that with --unobserved-cells allow"
                )


def _observed(store: CellStore, cell: int, chrom: str, sites: np.ndarray) -> bool:
    return any(
        not np.isnan(store.at(cell, chrom, sites[low : low + _LOOKED_AT])).all()
        for low in range(0, len(sites), _LOOKED_AT)
    )
