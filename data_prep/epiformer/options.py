"""The options of `python -m data_prep epiformer`; those of the original's program keep its names beside ours."""

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
from data_prep.coverage.aggregate import KEEP
from data_prep.coverage.options import add_conservation
from data_prep.epiformer.chunk_files import ORDERS
from data_prep.epiformer.windows import N_TESTS
from data_prep.sources.peak_bins import PEAK_BINS
from data_prep.sources.regions import PAPER_TEST, PAPER_VALID

SCALES = ("multiply", "repeat")
SPLITS = ("chromosomes", "random")
MISSING = ("zero", KEEP)


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} epiformer",
        description="Makes a dataset of kind coverage (TFRecords in TFDS layout) as Epiformer's generate_datasets.py "
        "lays its windows: genome, tracks, conservation and peaks, or the chunk files that the original wrote.",
        formatter_class=Help,
    )
    _add_inputs(p.add_argument_group("input"))
    _add_windows(p.add_argument_group("windows"))
    _add_splits(p.add_argument_group("splits"))
    _add_bins(p.add_argument_group("bins"))
    add_output_options(p.add_argument_group("records"))
    add_running_options(p.add_argument_group("running"))
    return p


def _add_inputs(g: Any) -> None:
    g.add_argument("--fasta", "--fa", help="genome, FASTA, plain or block-gzipped")
    g.add_argument(
        "--targets",
        "--target",
        metavar="TABLE",
        help="the original's tab-separated table of tracks: index, identifier, file (BigWig), clip, sum_stat (mean, "
        "median or sum), description, and where wanted peak (BED) and scale; beside --chunks only names are read",
    )
    add_conservation(g, "--seqcons")
    g.add_argument(
        "--chunks",
        nargs="+",
        metavar="PATH",
        help="the original's files <prefix>.<n>.h5, or their folder, instead of genome and tracks",
    )
    g.add_argument("--genome", metavar="NAME", help="take only the tracks of this genome (column `genome`)")
    add_chrom_prefix(g)
    add_extra_chroms(g, "a track")


def _add_windows(g: Any) -> None:
    g.add_argument("--window", "--seqlen", type=int, default=98_304, metavar="BP", help="length of a window")
    g.add_argument("--bin-width", "--binsize", type=int, default=128, metavar="BP", help="width of a bin")
    g.add_argument("--bed", metavar="BED", help="these regions, as far as they have the length of a window")
    g.add_argument("--gsize", metavar="FILE", help="chromosomes to tile, in this order: name and length a line")
    g.add_argument("--blacklist", metavar="BED", help="windows with a base of these regions are left out")
    g.add_argument(
        "--n-test", choices=N_TESTS, default="sequence",
        help="windows with an N are left out; line: as in the original, also those of chromosomes with n in their name",
    )  # fmt: skip
    g.add_argument(
        "--chunk-files", type=int, metavar="N",
        help="only the windows of the first N chunk files; the original trains on 2",
    )  # fmt: skip
    g.add_argument("--nchunk", type=int, default=5_000, metavar="N", help="windows of a chunk file, for --chunk-files")
    g.add_argument(
        "--chunk-order", choices=ORDERS, default="number",
        help="of chunk files; text: as in the original, so that file 10 comes before file 2",
    )  # fmt: skip


def _add_splits(g: Any) -> None:
    g.add_argument(
        "--split", choices=SPLITS, default="chromosomes",
        help="random: 80 %% of all windows train, the others validate, drawn as the original does with --seed 2022",
    )  # fmt: skip
    g.add_argument(
        "--valid-chroms",
        "--valid",
        nargs="+",
        default=list(PAPER_VALID),
        metavar="CHROM",
        help="validation split, or none",
    )
    g.add_argument(
        "--test-chroms", "--test", nargs="+", default=list(PAPER_TEST), metavar="CHROM", help="test split, or none"
    )
    g.add_argument("--drop-chroms", nargs="+", default=["none"], metavar="CHROM", help="in no split, or none")
    g.add_argument("--regions", metavar="BED", help="regions with their split in the fourth column, instead")
    g.add_argument("--seed", type=int, default=2022, help="of --split random")


def _add_bins(g: Any) -> None:
    g.add_argument(
        "--missing", choices=MISSING,
        help="what bases without a record count as; nan: their whole bin is NaN, as in the original (default: zero, "
        "and nan beside --chunks, whose bins are made)",
    )  # fmt: skip
    g.add_argument(
        "--scale", choices=SCALES, default="multiply",
        help="what the column scale does; repeat: as in the original, only sums grow",
    )  # fmt: skip
    g.add_argument(
        "--peak-bins", choices=PEAK_BINS, default="overlap",
        help="which bins a peak labels: those it overlaps, or as the original counts them",
    )  # fmt: skip
