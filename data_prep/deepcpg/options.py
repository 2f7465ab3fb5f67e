"""The options of `python -m data_prep deepcpg`."""

import argparse
from typing import Any

from data_prep.build.options import (
    PROGRAM,
    Help,
    add_chrom_prefix,
    add_extra_chroms,
    add_output_options,
    add_running_options,
)
from data_prep.deepcpg.formats import FORMATS
from data_prep.deepcpg.profiles import STRAND_MODES, UNSORTED_MODES, VALUE_MODES
from data_prep.deepcpg.splits import PAPER_SPLITS
from data_prep.deepcpg.statistics import MAXIMUM_MODES, STATISTICS
from jaxepi.genome.intervals import EDGE_MODES


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} deepcpg",
        description="Makes a TFRecord dataset (TFDS layout) of CpG sites with their sequence, the methylation of "
        "single cells at and around them, and statistics over cells.",
        formatter_class=Help,
    )
    _add_inputs(p.add_argument_group("input"))
    _add_reading(p.add_argument_group("how profiles are read"))
    _add_sites(p.add_argument_group("sites and splits"))
    _add_records(p.add_argument_group("records"))
    _add_statistics(p.add_argument_group("statistics over cells"))
    add_running_options(p.add_argument_group("running"))
    return p


def _add_inputs(g: Any) -> None:
    g.add_argument("--profiles", nargs="+", default=[], metavar="FILE", help="one file of CpG sites a cell")
    g.add_argument("--fasta", metavar="PATH", help="genome: a FASTA file or a folder of them; without: no sequences")
    g.add_argument(
        "--fasta-pieces", action="store_true", help="FASTA records named chr5:1001-2000 are pieces of chromosomes"
    )
    g.add_argument("--positions", metavar="FILE", help="sites (chromosome, 1-based position) instead of all observed")
    g.add_argument(
        "--annotations",
        nargs="+",
        default=[],
        metavar="BED",
        help="files of regions; records say which sites lie inside",
    )
    add_chrom_prefix(g)
    g.add_argument("--chroms", nargs="+", metavar="CHROM", help="use only these chromosomes")
    add_extra_chroms(g, "a profile")


def _add_reading(g: Any) -> None:
    g.add_argument(
        "--format", choices=("auto", *FORMATS), default="auto", help="of the profiles; auto: told by their columns"
    )
    g.add_argument(
        "--unsorted",
        choices=UNSORTED_MODES,
        default="error",
        help="what to do with sites out of order; sort: as the original does",
    )
    g.add_argument(
        "--values",
        choices=VALUE_MODES,
        default="as-is",
        help="values between 0 and 1 are kept, an error (binary), or rounded half to even (round)",
    )
    g.add_argument(
        "--strands",
        choices=STRAND_MODES,
        default="join",
        help="join: reads of both strands of a CpG are added up (bismark: with --fasta; allc, bedmethyl)",
    )
    g.add_argument(
        "--min-reads", type=int, default=1, metavar="N", help="leave out sites of a cell with fewer (counted formats)"
    )
    g.add_argument(
        "--bedgraph-base",
        type=int,
        choices=(0, 1),
        default=0,
        help="what column 2 of a bedGraph counts from; 1: a 1-based position, as the original takes it",
    )


def _add_sites(g: Any) -> None:
    g.add_argument("--cpg-cov", type=int, default=1, metavar="N", help="keep sites observed in at least N cells")
    g.add_argument("--sites-per-chrom", type=int, metavar="N", help="at most N sites a chromosome, drawn with --seed")
    for split, chroms in PAPER_SPLITS.items():
        g.add_argument(
            f"--{split}-chroms",
            nargs="+",
            metavar="CHROM",
            help=f"of the {split} split, or rest, or none (default: {' '.join(chroms)}, as in the paper)",
        )
    g.add_argument(
        "--regions", metavar="BED", help="splits from a BED file, fourth column = split, instead of chromosomes"
    )
    g.add_argument(
        "--unobserved-cells",
        choices=("error", "allow"),
        default="error",
        help="what to do if a split has no site of a cell",
    )


def _add_records(g: Any) -> None:
    add_output_options(g)
    g.add_argument("--dna-wlen", type=int, default=1001, metavar="BP", help="window around the site, odd")
    g.add_argument(
        "--cpg-wlen", type=int, default=0, metavar="N", help="neighbours of each cell, even: half on each side"
    )
    g.add_argument("--max-distance", type=int, default=25_000, metavar="BP", help="larger distances are stored as this")
    g.add_argument(
        "--n-bases",
        choices=("keep", "random"),
        default="keep",
        help="random: N become random bases drawn with --seed, as the original does",
    )
    g.add_argument("--seed", type=int, default=0, help="of random sites and bases, a whole number")
    g.add_argument(
        "--annotation-edges",
        choices=EDGE_MODES,
        default="half-open",
        help="closed: the base before a BED interval counts as inside, as in the original",
    )
    g.add_argument(
        "--annotation-extend",
        type=int,
        default=0,
        metavar="BP",
        help="regions of annotations that are shorter grow to this length, on both sides",
    )
    g.add_argument(
        "--annotation-shores",
        type=int,
        default=0,
        metavar="BP",
        help="mark also the sites outside the regions of each annotation NAME, up to BP away, as NAME_shores",
    )


def _add_statistics(g: Any) -> None:
    g.add_argument("--cpg-stats", nargs="+", choices=STATISTICS, default=[], help="of the cells at the site")
    g.add_argument("--cpg-stats-cov", type=int, default=3, metavar="N", help="cells that must be observed for them")
    g.add_argument("--win-stats", nargs="+", choices=STATISTICS, default=[], help="of the cells' means in windows")
    g.add_argument(
        "--win-stats-wlen",
        nargs="+",
        type=int,
        default=[1001, 2001, 3001, 4001, 5001],
        metavar="BP",
        help="their sizes",
    )
    g.add_argument(
        "--diff-maximum",
        choices=MAXIMUM_MODES,
        default="exact",
        help="truncated: `diff` cuts the largest value to a whole number, as the original does",
    )
    g.add_argument(
        "--window-sites",
        choices=("all", "neighbours"),
        default="all",
        help="neighbours: windows hold at most the --cpg-wlen nearest sites of a cell, as in the original",
    )
    g.add_argument(
        "--window-centre",
        choices=("exact", "rounded"),
        default="exact",
        help="rounded: the site's own value counts rounded in its windows, as in the original",
    )
