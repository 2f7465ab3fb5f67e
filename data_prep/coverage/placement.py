"""From the options to the windows: contigs, splits, strides, or what a BED file says."""

import argparse
import sys
from pathlib import Path

import numpy as np

from data_prep.coverage.contigs import break_up, intersect, peak_regions, rejoin, subtract, whole_chromosomes
from data_prep.coverage.sequences import Sequences, lay, read_sequences, shared_windows
from data_prep.coverage.splits import Contigs, by_chromosome, by_fold, by_share, shares_of
from data_prep.coverage.targets import TargetTable
from data_prep.sources.genome import Genome
from data_prep.sources.regions import check_inside, split_by_regions
from data_prep.sources.signals import kind_of_signal
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.genome.text_files import read_bed


def read_regions(args: argparse.Namespace, role: str, genome: Genome) -> Intervals:
    """The regions of the BED file of an option, checked against the genome; tells those on unknown chromosomes."""
    path = Path(getattr(args, role))
    regions = Intervals.of(row.interval for row in read_bed(path, args.chrom_prefix))
    elsewhere = check_inside(path, regions, genome.lengths)
    if elsewhere:
        print(
            f"warning: {elsewhere} regions of {path} lie on chromosomes that {genome.path} lacks", file=sys.stderr
        )  # fmt: skip
    return regions


def chosen_sequences(
    args: argparse.Namespace, genome: Genome, table: TargetTable
) -> tuple[Contigs, Sequences]:  # fmt: skip
    """Contigs and windows of each split, as the options say.

    Raises:
        JaxepiError: a split without a window, or options that do not fit the genome.
    """
    covered = args.window - 2 * args.crop
    if args.sequences:
        sequences = read_sequences(Path(args.sequences), genome.lengths, args.window, args.crop, args.chrom_prefix)
        shared = shared_windows(sequences)
        if shared:
            print(
                f"warning: {shared} windows of {args.sequences} overlap one of another split: what is trained on is "
                "tested too",
                file=sys.stderr,
            )
        return covered_by(sequences), sequences
    if args.splits:
        contigs = split_by_regions(args.splits, genome.lengths, args.chrom_prefix)
        if not contigs:
            raise JaxepiError(
                f"{args.splits} holds no contig: rows with chromosome, start, end and split were expected"
            )
    else:
        broken = break_up(_contigs(args, genome, table), args.break_length, args.lost_contig)
        contigs = _split(args, genome, broken)
    strides = {
        name: _stride(args.window, getattr(args, f"stride_{name}"), args.snap, name) for name in ("train", "test")
    }
    if covered % args.snap:
        raise JaxepiError(
            f"--snap is {args.snap}, which does not divide the {covered} bp that the bins of a window cover: use one "
            "that does"
        )
    return lay(contigs, covered, strides, args.snap, args.sample, args.seed)


def _contigs(args: argparse.Namespace, genome: Genome, table: TargetTable) -> list[Interval]:
    contigs = whole_chromosomes(genome.lengths)
    if args.gaps:
        contigs = subtract(contigs, read_regions(args, "gaps", genome))
    if args.limit:
        limit = read_regions(args, "limit", genome)
        contigs = intersect(
            contigs,
            [
                Interval(c, s, e)
                for c in limit.present
                for s, e in zip(*map(np.ndarray.tolist, limit.covered(c)), strict=True)
            ],
        )
    if args.peaks:
        contigs = intersect(contigs, peak_regions(_peaks(args, genome, table), args.bin_width, args.crop))
    covered = args.window - 2 * args.crop
    long_enough = [contig for contig in contigs if contig.length >= covered]
    if not long_enough:
        raise JaxepiError(
            f"no contig is as long as the {covered} bp that the bins of a window cover: use a smaller --window, or "
            "less of --gaps and --limit"
        )
    return long_enough


def _peaks(args: argparse.Namespace, genome: Genome, table: TargetTable) -> Intervals:
    paths = dict.fromkeys(target.path for target in table.targets)
    other = next((path for path in paths if kind_of_signal(path) != "bed"), None)
    if other is not None:
        raise JaxepiError(
            f"{other} is no BED file, and --peaks takes windows from the peaks of all tracks: leave it out"
        )
    rows: list[Interval] = []
    for path in paths:
        own = Intervals.of(row.interval for row in read_bed(path, args.chrom_prefix))
        check_inside(path, own, genome.lengths)
        rows += own
    return Intervals.of(rows)


def _split(args: argparse.Namespace, genome: Genome, contigs: list[Interval]) -> Contigs:
    random = np.random.RandomState(args.seed)
    if args.folds:
        return by_fold(contigs, args.folds, random)
    shares = shares_of(args.test, args.valid, genome.lengths)
    if shares is None:
        return by_chromosome(contigs, args.test, args.valid, genome.lengths)
    wanted = {"train": True, "valid": shares[1] > 0, "test": shares[0] > 0}
    made = by_share(contigs, *shares, random)
    return {split: own for split, own in made.items() if wanted[split]}


def _stride(window: int, stride: float, snap: int, name: str) -> int:
    bases = stride if stride > 1 else round(stride * window)
    if bases != int(bases) or bases < 1:
        raise JaxepiError(
            f"--stride-{name} is {stride:g}: a whole number of bp, or a share of the window up to 1, was expected"
        )
    if int(bases) % snap:
        raise JaxepiError(f"--stride-{name} is {int(bases)} bp, no multiple of --snap {snap}: change one of them")
    return int(bases)


def covered_by(sequences: Sequences) -> Contigs:
    """The stretches that given windows cover, of each split: what stands for their contigs."""
    contigs: Contigs = {}
    for number, split in enumerate(sequences.splits):
        own = sequences.split_id == number
        windows = Intervals(
            sequences.chroms, sequences.chrom_id[own], sequences.start[own], sequences.start[own] + sequences.length
        )
        rows = [
            Interval(c, s, e)
            for c in windows.present
            for s, e in zip(*map(np.ndarray.tolist, windows.covered(c)), strict=True)
        ]
        contigs[split] = rejoin(rows)
    return contigs
