"""The options of `python -m data_prep coverage`; those of the original's program keep its short and long forms."""

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
from data_prep.coverage.aggregate import MISSING
from data_prep.coverage.contigs import LOST_CONTIG
from data_prep.coverage.transforms import TRANSFORMS

LAYOUTS = ("tfds", "original", "original-exact")


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} coverage",
        description="Makes a dataset of genome windows with the binned coverage of many tracks, as Basenji's "
        "basenji_data.py does: a TFRecord dataset in TFDS layout, or the original's own folder.",
        formatter_class=Help,
    )
    _add_inputs(p.add_argument_group("input"))
    add_contigs(p.add_argument_group("contigs and splits"), share=0.05)
    _add_windows(p.add_argument_group("windows"))
    _add_bins(p.add_argument_group("bins"))
    _add_mappability(p.add_argument_group("mappability"))
    _add_records(p.add_argument_group("records"))
    add_running_options(p.add_argument_group("running"))
    return p


def _add_inputs(g: Any) -> None:
    g.add_argument("--fasta", required=True, help="genome, FASTA, plain or block-gzipped")
    g.add_argument(
        "--targets",
        required=True,
        metavar="TABLE",
        help="tab-separated table of tracks: index, identifier, file (BigWig, BED or HDF5), and where wanted clip, "
        "clip_soft, scale, sum_stat, description, strand_pair, genome, and peak (BED) for labels",
    )
    add_conservation(g)
    g.add_argument(
        "--genome", metavar="NAME", help="take only the tracks of this genome (column `genome` of the table)"
    )
    add_chrom_prefix(g)
    add_extra_chroms(g, "a track")


def add_conservation(g: Any, *names: str) -> None:
    """Adds --conservation, with further names."""
    g.add_argument(
        "--conservation",
        *names,
        metavar="BIGWIG",
        help="a score a base for each record, such as phastCons; a base without a record counts as 0",
    )


def add_contigs(g: Any, share: float) -> None:
    """Adds the options of contigs and splits; `share` is the default of --test and --valid."""
    g.add_argument("-g", "--gaps", metavar="BED", help="assembly gaps, cut out of the genome")
    g.add_argument("--limit", metavar="BED", help="use only these parts of the genome")
    g.add_argument(
        "--break", dest="break_length", type=int, default=786_432, metavar="BP", help="halve contigs longer than this"
    )
    g.add_argument(
        "--lost-contig",
        choices=LOST_CONTIG,
        default="keep",
        help="parity loses the longest contig that needs no halving, as the original does: its splits need it",
    )
    what = "share of the genome, or chromosomes with commas between"
    g.add_argument("-t", "--test", default=str(share), metavar="WHAT", help=f"test split: {what}")
    g.add_argument("-v", "--valid", default=str(share), metavar="WHAT", help=f"validation split: {what}")
    g.add_argument("-f", "--folds", type=int, metavar="N", help="fold0, fold1, … instead of train, valid and test")
    g.add_argument("--seed", type=int, default=44, help="of the split and of the order of windows, a whole number")


def _add_windows(g: Any) -> None:
    g.add_argument("-l", "--window", type=int, default=131_072, metavar="BP", help="length of the sequence of a record")
    g.add_argument("-c", "--crop", type=int, default=0, metavar="BP", help="sequence on each side that has no bins")
    g.add_argument("--peaks", action="store_true", help="windows only around the intervals of BED tracks (Basset)")
    g.add_argument("--splits", metavar="BED", help="contigs with their split in the fourth column, instead of choosing")
    g.add_argument(
        "--sequences",
        metavar="BED",
        help="the windows themselves with their split, such as the sequences.bed of a published dataset",
    )
    g.add_argument("--snap", type=int, default=1, metavar="BP", help="windows start at multiples of this")
    stride = "distance of window starts in bp, or up to 1 as a share of the window"
    g.add_argument(
        "--stride-train", "--stride_train", "--stride", type=float, default=1.0, help=f"{stride}; of folds too"
    )
    g.add_argument("--stride-test", "--stride_test", type=float, default=1.0, help=f"{stride}; of validation too")
    g.add_argument("-s", "--sample", type=float, default=1.0, metavar="SHARE", help="keep this share of the windows")


def _add_bins(g: Any) -> None:
    g.add_argument("-w", "--bin-width", type=int, default=128, metavar="BP", help="width of a bin")
    g.add_argument("-b", "--blacklist", metavar="BED", help="regions whose signal is limited to that of their window")
    g.add_argument(
        "--transform",
        choices=tuple(TRANSFORMS),
        default="float32",
        help="how values become bins: float32, without the slips of the programs that the others reproduce",
    )
    g.add_argument(
        "--missing",
        choices=MISSING,
        default="zero",
        help="what bases without a record count as: zero, or the median of those of the window that have one",
    )
    g.add_argument(
        "-i", "--interpolate", action="store_true", help="bases without a record lie on lines between others"
    )
    g.add_argument(
        "--clip-pct", type=float, default=0.9999999, metavar="SHARE", help="cut each track at this quantile; 1 = do not"
    )
    g.add_argument("-d", "--decimals", type=int, metavar="N", help="round bins to this many decimals")


def _add_mappability(g: Any) -> None:
    g.add_argument("-u", "--umap", metavar="BED", help="unmappable regions")
    g.add_argument(
        "--umap-t", "--umap_t", type=float, default=0.5, metavar="SHARE",
        help="leave out windows with at least this share of unmappable bins",
    )  # fmt: skip
    g.add_argument(
        "--umap-clip", "--umap_clip", type=float, default=1.0, metavar="SHARE",
        help="limit unmappable bins to this quantile of their window and track",
    )  # fmt: skip
    g.add_argument("--umap-tfr", "--umap_tfr", action="store_true", help="records tell which bins are unmappable")


def _add_records(g: Any) -> None:
    add_output_options(g)
    g.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="tfds",
        help="tfds, or the folder of the original's program; original-exact also has its slips (docs/data_prep.md)",
    )
    g.add_argument(
        "-r", "--per-file", type=int, default=256, metavar="N", help="records of a file of the original layout"
    )
