"""`python -m data_prep epiformer`: coverage in windows as Epiformer's program lays them, or from its chunk files."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build import dataset
from data_prep.build.folder import BuildFolder, remove_stale
from data_prep.build.options import (
    PROGRAM,
    SPACE_FACTOR,
    check_least,
    check_running,
    execution_of,
    made_before,
    parse_options,
    refuse_beside,
    refuse_unused,
)
from data_prep.build.runner import available_processes
from data_prep.coverage.aggregate import KEEP, Aggregator, Binning, aggregate
from data_prep.coverage.command import check_tracks, input_files, open_beside, report, warn
from data_prep.coverage.placement import covered_by, read_regions
from data_prep.coverage.recipe import CoverageRecipe, Writing
from data_prep.coverage.sequences import Sequences, make_sequences, shared_windows
from data_prep.coverage.targets import TargetTable, read_targets
from data_prep.coverage.transforms import Transform
from data_prep.epiformer.chunk_files import ChunkFile, find_chunks, numbered, read_headers
from data_prep.epiformer.chunk_recipe import ChunkRecipe
from data_prep.epiformer.options import parser
from data_prep.epiformer.splits import MOST_PERMUTED, Numbers, at_random, by_regions, check_filled
from data_prep.epiformer.windows import kept, listed, sized, tiled
from data_prep.sources import preflight
from data_prep.sources.genome import Genome
from data_prep.sources.regions import Windows, make_windows, split_by_chromosome, split_by_regions
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.intervals import Intervals

_FILES = ("conservation", "bed", "gsize", "blacklist", "regions")
_OF_GENOME = ("window", "bin_width", "genome", "n_test", "scale", "peak_bins", "nchunk")
_OF_WINDOWS = (
    *("fasta", "conservation", "window", "bin_width", "bed", "gsize", "blacklist", "n_test", "nchunk", "scale"),
    *("peak_bins", "extra_chroms"),
)
_OF_BOTH = ("chrom_prefix", "chunk_files", "split")
_BY_CHROMOSOME = ["valid_chroms", "test_chroms", "drop_chroms"]


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    check_options(args, typed)
    check_running(args)
    out = Path(args.out)
    built = _from_chunks(args, out) if args.chunks else _from_genome(args, out)
    if built is None:
        return 0
    report(built)
    left = {name: count for name, count in built.manifest["left_out"].items() if count}
    if left:
        reasons = {"blacklist": "on the blacklist", "n": "with an N", "length": "of another length",
                   "chunk_files": "of later chunk files", "no_split": "in no split"}  # fmt: skip
        print(f"left out: {', '.join(f'{count} windows {reasons[name]}' for name, count in left.items())}")
    return 0


def check_options(args: argparse.Namespace, typed: Collection[str]) -> None:
    """Numbers, and options that would do nothing or contradict each other; sets what `--missing` is by default.

    Raises:
        JaxepiError: for the first of them.
    """
    check_least(args, {"window": 1, "bin_width": 1, "nchunk": 1, "chunk_files": 1, "seed": 0})
    if args.seed >= 1 << 32:
        raise JaxepiError(f"--seed is {args.seed}: a number below {1 << 32} was expected")
    if args.chunks:
        refuse_beside(typed, "--chunks, whose windows and bins are made", _OF_WINDOWS)
    else:
        lacking = next((name for name in ("fasta", "targets") if getattr(args, name) is None), None)
        if lacking is not None:
            raise JaxepiError(f"--{lacking} is not given: --fasta and --targets are needed, or --chunks instead")
        if args.window % args.bin_width:
            raise JaxepiError(
                f"--window (--seqlen) {args.window} is no whole number of bins of --bin-width (--binsize) "
                f"{args.bin_width} bp: change one of them"
            )
        needs = [(False, "--chunks", ["chunk_order"]), (args.chunk_files is not None, "--chunk-files", ["nchunk"])]
        refuse_unused(typed, needs)
    if args.bed:
        refuse_beside(typed, "--bed", ["gsize"])
    refuse_unused(typed, [(args.split == "random", "--split random", ["seed"])])
    if args.split == "random":
        refuse_beside(typed, "--split random", ["valid_chroms", "test_chroms", "regions"])
    if args.regions:
        refuse_beside(typed, "--regions", _BY_CHROMOSOME)
    if args.missing is None:
        args.missing = KEEP if args.chunks else "zero"


def _arguments(args: argparse.Namespace, tracks: Sequence[str]) -> dict[str, Any]:
    """What decides the content, in one form however it was typed; files are told apart by their digests instead."""
    named = args.split == "chromosomes" and not args.regions
    own = {name: getattr(args, name) for name in _OF_GENOME} if not args.chunks else {"chunk_order": args.chunk_order}
    return {
        "program": "epiformer",
        "tracks": list(tracks),
        **own,
        **{name: getattr(args, name) for name in (*_OF_BOTH, "missing")},
        "valid_chroms": sorted(_named(args.valid_chroms)) if named else None,
        "test_chroms": sorted(_named(args.test_chroms)) if named else None,
        "drop_chroms": sorted(_named(args.drop_chroms)),
        "seed": args.seed if args.split == "random" else None,
    }


def _named(chroms: Sequence[str]) -> list[str]:
    return [] if list(chroms) == ["none"] else list(chroms)


def _from_genome(args: argparse.Namespace, out: Path) -> dataset.Built | None:
    """The dataset of a genome and its tracks; None if it is there already."""
    genome = Genome(args.fasta, args.chrom_prefix)
    table = read_targets(Path(args.targets), args.genome)
    check_table(args, table)
    inputs = dataset.describe_inputs(input_files(args, genome, table, _FILES))
    arguments = _arguments(args, [target.name for target in table.targets])
    tracks = out.with_name(f"{out.name}.tracks")  # beside the dataset, where workers on other machines see it
    if made_before(args, CoverageRecipe.name, arguments, inputs):
        remove_stale(tracks)
        return None
    check_tracks(args, genome, table)
    sequences, left_out = lay(args, genome)
    with BuildFolder(tracks) as place:
        try:
            recipe = make_recipe(args, genome, table, sequences, left_out, place.folder)
        except OSError as error:
            raise JaxepiError(
                f"writing beside {out} failed ({error.strerror or error}): check the free space and the permissions, "
                "or choose another --out"
            ) from error
        return dataset.build(recipe, out, arguments, inputs, execution_of(args))


def check_table(args: argparse.Namespace, table: TargetTable) -> None:
    """What the original's table must say.

    Raises:
        JaxepiError: a track without a statistic, or a scale that the original cannot repeat values by.
    """
    stats = [dict(zip(table.columns, cells, strict=True)).get("sum_stat") for cells in table.cells]
    for target, stat in zip(table.targets, stats, strict=True):
        if not stat:
            raise JaxepiError(
                f"{args.targets}: track {target.name!r} has no sum_stat: mean, median or sum was expected"
            )
        if args.scale == "repeat" and (target.scale < 1 or target.scale != int(target.scale)):
            raise JaxepiError(
                f"{args.targets}: track {target.name!r} has the scale {target.scale:g}, and --scale repeat repeats "
                "values as the original does: a whole number from 1 was expected, or --scale multiply"
            )
    if table.repeated:
        warn(f"{args.targets} names {', '.join(table.repeated[:3])} more than once: those that come later are called "
             "name#place")  # fmt: skip


def lay(args: argparse.Namespace, genome: Genome) -> tuple[Sequences, dict[str, int]]:
    """The windows of each split, and how many were left out for what.

    Raises:
        JaxepiError: files of another genome, or a split without a window.
    """
    lengths = sized(Path(args.gsize), genome, args.chrom_prefix) if args.gsize else genome.lengths
    other = 0
    if args.bed:
        windows, other = listed(Path(args.bed), genome, args.window, args.chrom_prefix)
    else:
        windows = tiled(lengths, args.window)
    if not len(windows):
        raise JaxepiError(f"no chromosome is as long as --seqlen {args.window} bp: use shorter windows")
    blacklist = read_regions(args, "blacklist", genome) if args.blacklist else Intervals.of([])
    windows, left_out = kept(
        _of_chroms(args, windows, genome.path, genome.lengths), args.window, genome, blacklist, args.n_test
    )
    most = args.chunk_files * args.nchunk if args.chunk_files else len(windows)
    left_out |= {"length": other, "chunk_files": max(len(windows) - most, 0)}
    windows = windows.take(np.arange(min(most, len(windows))))
    numbers = shared_out(args, windows, args.window, genome.path, genome.lengths)
    left_out["no_split"] = len(windows) - sum(map(len, numbers.values()))
    places = {split: [_place_of(windows, number) for number in own.tolist()] for split, own in numbers.items()}
    sequences = make_sequences(places, args.window)
    if args.bed and (shared := shared_windows(sequences)):
        warn(f"{shared} windows of {args.bed} overlap one of another split: what is trained on is tested too")
    return sequences, left_out


def _place_of(windows: Windows, number: int) -> tuple[str, int]:
    return windows.chroms[windows.chrom_id[number]], int(windows.start[number])


def _of_chroms(args: argparse.Namespace, windows: Windows, where: Path, lengths: Mapping[str, int]) -> Windows:
    """The windows that do not lie on --drop-chroms, which must be among the chromosomes of `lengths`."""
    dropped = _named(args.drop_chroms)
    unknown = next((chrom for chrom in dropped if chrom not in lengths), None)
    if unknown is not None:
        raise JaxepiError(
            f"--drop-chroms names {unknown}{did_you_mean(unknown, lengths)}, which {where} lacks: leave it out"
        )
    barred = np.array([chrom in dropped for chrom in windows.chroms], bool)
    return windows.take(~barred[windows.chrom_id])


def shared_out(
    args: argparse.Namespace, windows: Windows, length: int, where: Path, lengths: Mapping[str, int]
) -> Numbers:
    """Which windows are in which split, as the options say.

    Args:
        args: split, seed, regions, valid_chroms, test_chroms, drop_chroms, chrom_prefix.
        windows: all of them, in their order.
        length: of a window.
        where: what holds the chromosomes, for the sentence.
        lengths: of the chromosomes.

    Raises:
        JaxepiError: a chromosome that is not there, or a split without a window.
    """
    if args.split == "random":
        if len(windows) >= MOST_PERMUTED:
            raise JaxepiError(
                f"--split random cannot draw from {len(windows)} windows as the original: use --split chromosomes"
            )
        numbers = {split: np.sort(own) for split, own in at_random(len(windows), args.seed).items()}
    else:
        if args.regions:
            spans = split_by_regions(args.regions, lengths, args.chrom_prefix)
        else:
            valid, test = _named(args.valid_chroms), _named(args.test_chroms)
            spans = split_by_chromosome(lengths, valid, test, _named(args.drop_chroms))
            preflight.check_splits(where, lengths, spans, {"valid-chroms": valid, "test-chroms": test})
        numbers = by_regions(windows, length, spans)
    check_filled(numbers, len(windows))
    return numbers


def make_recipe(
    args: argparse.Namespace,
    genome: Genome,
    table: TargetTable,
    sequences: Sequences,
    left_out: Mapping[str, int],
    folder: Path,
) -> CoverageRecipe:
    """Reads all tracks; the bins go into `folder`."""
    beside = open_beside(args, genome, table, args.peak_bins, {"left_out": dict(left_out)})
    how = Transform(symmetric=False, scale_repeats=args.scale == "repeat")
    binning = Binning(args.bin_width, how, missing=args.missing, clip_pct=1.0)
    aggregator = Aggregator(folder, table.targets, sequences, binning, Intervals.of([]), args.chrom_prefix)
    values = len(table.targets) * aggregator.bins * (2 + (beside.peaks is not None))
    bases = args.window * (1 + 2 * (beside.conservation is not None))
    dataset.require_space(folder, int((1 + SPACE_FACTOR) * len(sequences) * (values + bases)))
    store = aggregate(aggregator, args.processes or available_processes(), not args.no_progress)
    writing = Writing(0, args.bin_width, missing=args.missing)
    return CoverageRecipe(genome, store, sequences, writing, table, covered_by(sequences), beside=beside)


def _from_chunks(args: argparse.Namespace, out: Path) -> dataset.Built | None:
    """The dataset of the original's chunk files; None if it is there already."""
    paths = find_chunks(args.chunks, args.chunk_order, args.chunk_files)
    table = read_targets(Path(args.targets), args.genome, files=False) if args.targets else None
    files = {f"chunk {number}": path for number, path in enumerate(paths)}
    files |= {"targets": Path(args.targets).absolute()} if args.targets else {}
    files |= {"regions": Path(args.regions).absolute()} if args.regions else {}
    inputs = dataset.describe_inputs(files)
    chunks = read_headers(paths, args.chrom_prefix)
    names = track_names(args, chunks[0], table)
    arguments = _arguments(args, names)
    if made_before(args, ChunkRecipe.name, arguments, inputs):
        return None
    recipe = make_chunk_recipe(args, chunks, names, table)
    total = sum(map(len, recipe.numbers.values()))
    dataset.require_space(out, int(SPACE_FACTOR * total * recipe.bytes_per_record()))
    return dataset.build(recipe, out, arguments, inputs, execution_of(args))


def track_names(args: argparse.Namespace, chunk: ChunkFile, table: TargetTable | None) -> list[str]:
    """Names of the tracks of chunk files, which hold none themselves.

    Raises:
        JaxepiError: the table has another number of tracks.
    """
    if table is None:
        warn("chunk files hold no names of tracks: they are called track0, track1, …, unless --targets names them")
        return [f"track{number}" for number in range(chunk.tracks)]
    if len(table.targets) != chunk.tracks:
        raise JaxepiError(
            f"{args.targets} names {len(table.targets)} tracks, but {chunk.path} holds {chunk.tracks}: give the table "
            "that the files were made with"
        )
    return [target.name for target in table.targets]


def make_chunk_recipe(
    args: argparse.Namespace, chunks: Sequence[ChunkFile], names: Sequence[str], table: TargetTable | None
) -> ChunkRecipe:
    """Shares the windows of chunk files out to splits."""
    length, where = chunks[0].length, chunks[0].path
    places = [chunks[file].places[row] for file, row in numbered(chunks)]
    lengths: dict[str, int] = {}
    for place in places:
        lengths[place.chrom] = max(place.end, lengths.get(place.chrom, 0))
    every = make_windows([(place.chrom, place.start) for place in places])
    barred = np.isin(np.array(every.chroms)[every.chrom_id], _named(args.drop_chroms))
    windows, original = _of_chroms(args, every, where, lengths), np.flatnonzero(~barred)
    own = shared_out(args, windows, length, where, lengths)
    numbers = {split: original[chosen] for split, chosen in own.items()}
    left_out = {"no_split": len(windows) - sum(map(len, numbers.values()))}
    return ChunkRecipe(chunks, numbers, names, table, args.missing, {"left_out": left_out})
