"""`python -m data_prep coverage`: FASTA and tracks to windows with binned coverage."""

import argparse
import sys
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
from data_prep.coverage.aggregate import COUNTS, Aggregator, Binning, aggregate
from data_prep.coverage.options import parser
from data_prep.coverage.original_folder import FolderStyle, folder_writer
from data_prep.coverage.placement import chosen_sequences, read_regions
from data_prep.coverage.recipe import Beside, CoverageRecipe, Writing
from data_prep.coverage.sequences import Sequences, unmappable_bins
from data_prep.coverage.splits import Contigs
from data_prep.coverage.targets import TargetTable, read_targets
from data_prep.coverage.transforms import TRANSFORMS
from data_prep.sources import preflight
from data_prep.sources.genome import Genome, ambiguity_note
from data_prep.sources.peak_bins import PEAK_BINS, PeakLabels
from data_prep.sources.per_base import PerBaseTrack
from data_prep.sources.signals import open_signal
from data_prep.sources.tracks import TrackFile
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals

_FILES = ("gaps", "limit", "splits", "sequences", "blacklist", "umap", "conservation")
_PLAIN = (
    *("genome", "chrom_prefix", "window", "crop", "bin_width", "peaks", "break_length", "lost_contig", "folds", "snap"),
    *("stride_train", "stride_test", "sample", "seed", "transform", "missing", "interpolate", "clip_pct", "decimals"),
    *("umap_tfr", "layout"),
)
# Count -> share of the bins of a track above which the user should look, and what is said then.
_TELLING = {
    "clipped": (0.01, "are cut by `clip` of the table: raise it if they should not be"),
    "beyond_float16": (0.0, "do not fit into float16 and are cut to 65,504: use a clip or a smaller scale"),
}


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    check_options(args, typed)
    check_running(args)
    out = Path(args.out)
    genome = Genome(args.fasta, args.chrom_prefix)
    table = read_targets(Path(args.targets), args.genome)
    _tell_table(args, table)
    inputs = dataset.describe_inputs(input_files(args, genome, table, _FILES))
    arguments = _arguments(args, table)
    tracks = out.with_name(f"{out.name}.tracks")  # beside the dataset, where workers on other machines see it
    if made_before(args, CoverageRecipe.name, arguments, inputs):
        remove_stale(tracks)
        return 0
    check_tracks(args, genome, table)
    contigs, sequences = chosen_sequences(args, genome, table)
    with BuildFolder(tracks) as place:
        try:
            recipe = make_recipe(args, genome, table, contigs, sequences, place.folder)
        except OSError as error:
            raise JaxepiError(
                f"writing beside {out} failed ({error.strerror or error}): check the free space and the permissions, "
                "or choose another --out"
            ) from error
        built = dataset.build(recipe, out, arguments, inputs, execution_of(args), _writer(args))
    report(built)
    return 0


def check_options(args: argparse.Namespace, typed: Collection[str]) -> None:
    """Numbers, and options that would do nothing or contradict each other.

    Raises:
        JaxepiError: for the first of them.
    """
    check_least(args, {"window": 1, "crop": 0, "bin_width": 1, "break_length": 1, "folds": 2, "snap": 1, "seed": 0,
                       "decimals": 0, "per_file": 1})  # fmt: skip
    for name in ("sample", "clip_pct", "umap_t", "umap_clip"):
        share = getattr(args, name)
        if not 0 < share <= 1:
            raise JaxepiError(f"--{name.replace('_', '-')} is {share}: a share above 0, at most 1, was expected")
    if args.seed >= 1 << 32:
        raise JaxepiError(f"--seed is {args.seed}: a number below {1 << 32} was expected")
    covered = args.window - 2 * args.crop
    if covered < args.bin_width or covered % args.bin_width:
        raise JaxepiError(
            f"--window {args.window} without a --crop of {args.crop} bp on both sides is {covered} bp, no whole number "
            f"of bins of --bin-width {args.bin_width} bp: change one of them"
        )
    refuse_unused(
        typed,
        [
            (args.umap is not None, "--umap", ["umap_t", "umap_clip", "umap_tfr"]),
            (args.layout != "tfds", "--layout original", ["per_file"]),
        ],
    )
    if args.layout != "tfds":
        refuse_beside(typed, f"--layout {args.layout}", ["beam_runner"])
        if args.conservation is not None:
            raise JaxepiError(
                f"--layout {args.layout} has no place for the scores of --conservation: use --layout tfds, or leave "
                "them out"
            )
    if args.transform != "float32":
        refuse_beside(typed, f"--transform {args.transform}", ["missing"])
    if args.interpolate:
        refuse_beside(typed, "--interpolate", ["missing"])
    choosing = ["gaps", "limit", "peaks", "break_length", "lost_contig", "test", "valid", "folds"]
    if args.splits:
        refuse_beside(typed, "--splits", [*choosing, "sequences"])
    if args.sequences:
        refuse_beside(typed, "--sequences", [*choosing, "snap", "stride_train", "stride_test", "sample", "seed"])
    if args.folds:
        refuse_beside(typed, "--folds", ["test", "valid", "stride_test"])
    if args.break_length < covered and "break_length" in typed:
        raise JaxepiError(
            f"--break is {args.break_length}: contigs shorter than the {covered} bp that the bins of a window cover "
            "hold no window, so use at least that"
        )


def _tell_table(args: argparse.Namespace, table: TargetTable) -> None:
    if args.layout != "tfds" and any(target.peaks for target in table.targets):
        raise JaxepiError(
            f"{args.targets} has peaks in its column `peak`, and --layout {args.layout} has no place for labels: use "
            "--layout tfds, or remove the column"
        )
    for target in table.targets:
        TRANSFORMS[args.transform].check(args.transform, target.sum_stat, target.name)
    if table.repeated:
        warn(
            f"{args.targets} names {_some(table.repeated)} more than once: those that come later are called name#place"
        )


def warn(text: str) -> None:
    """Prints a line that does not stop the work."""
    print(f"warning: {text}", file=sys.stderr)


def input_files(
    args: argparse.Namespace, genome: Genome, table: TargetTable, options: Sequence[str]
) -> dict[str, Path]:
    """Role -> file: those of genome and tracks, and of the options that name one.

    Raises:
        JaxepiError: one is not there.
    """
    files = {"fasta": genome.path, "targets": Path(args.targets).absolute()}
    files |= {f"track {target.name}": target.path for target in table.targets}
    files |= {f"peaks {target.name}": target.peaks for target in table.targets if target.peaks is not None}
    for role in options:
        given = getattr(args, role)
        if given is not None:
            if not Path(given).is_file():
                raise JaxepiError(f"{given} does not exist: --{role} needs a file")
            files[role] = Path(given).absolute()
    return files


def _arguments(args: argparse.Namespace, table: TargetTable) -> dict[str, Any]:
    """What decides the content, in one form however it was typed; files are told apart by their digests instead."""
    given = args.splits or args.sequences
    plain = {name: getattr(args, name) for name in _PLAIN}
    return {
        "tracks": [target.name for target in table.targets],
        **plain,
        "test": None if given or args.folds else args.test,
        "valid": None if given or args.folds else args.valid,
        "umap_t": args.umap_t if args.umap else None,
        "umap_clip": args.umap_clip if args.umap else None,
        "per_file": args.per_file if args.layout != "tfds" else None,
    }


def check_tracks(args: argparse.Namespace, genome: Genome, table: TargetTable) -> None:
    """Chromosome names and lengths of every track against the genome; tells chromosomes that no track has.

    Raises:
        JaxepiError: other names, another build, or a damaged file.
    """
    known: dict[str, dict[str, int]] = {}
    seen: set[Path] = set()
    for target in table.targets:
        if target.path in seen:
            continue
        seen.add(target.path)
        signal = open_signal(TrackFile(target.name, target.path), args.chrom_prefix)
        lengths = signal.lengths()
        if signal.kind == "bed":
            far = {chrom: end for chrom, end in lengths.items() if end > genome.lengths.get(chrom, end)}
            lengths = {c: far.get(c, genome.lengths.get(c, end)) for c, end in lengths.items()}
        else:
            known[target.name] = lengths
        preflight.check_track(genome.path, genome.lengths, target.path, lengths, args.extra_chroms)
    bare = sorted(set(genome.lengths) - {c for own in known.values() for c in own}) if known else []
    if bare:
        warn(f"no track covers {some_chroms(bare)}: windows there hold no signal")


def some_chroms(chroms: Sequence[str]) -> str:
    """The first of some names."""
    return f"{', '.join(chroms[:5])}{' …' if chroms[5:] else ''}"


def open_beside(
    args: argparse.Namespace,
    genome: Genome,
    table: TargetTable,
    peak_bins: str = PEAK_BINS[0],
    told: Mapping[str, Any] | None = None,
) -> Beside:
    """Conservation and peaks as the options and the table name them, checked against the genome; tells what they lack.

    Args:
        args: conservation, chrom_prefix, extra_chroms.
        genome: of the windows.
        table: may name peaks.
        peak_bins: one of `data_prep.sources.peak_bins.PEAK_BINS`.
        told: further entries of the manifest.

    Raises:
        JaxepiError: a file that is damaged or of another genome.
    """
    track, peaks = None, None
    if args.conservation is not None:
        track = PerBaseTrack(Path(args.conservation).absolute(), genome.lengths, args.chrom_prefix)
        bare = track.check(genome.path, args.extra_chroms)
        if bare:
            warn(f"{args.conservation} has no {some_chroms(bare)}: bases there count as not conserved (0)")
    if any(target.peaks for target in table.targets):
        peaks = PeakLabels([target.peaks for target in table.targets], genome.lengths, args.chrom_prefix, peak_bins)
        for path, count in peaks.elsewhere.items():
            if count:
                warn(f"{count} peaks of {path} lie on chromosomes that {genome.path} lacks")
        without = [target.name for target in table.targets if target.peaks is None]
        if without:
            warn(f"{args.targets} names no peaks for {_some(without)}: none of their bins is labelled")
    return Beside(track, peaks, told or {})


def make_recipe(
    args: argparse.Namespace,
    genome: Genome,
    table: TargetTable,
    contigs: Contigs,
    sequences: Sequences,
    folder: Path,
) -> CoverageRecipe:
    """Reads all tracks; the bins go into `folder`."""
    unmappable, before = None, sequences.counts()
    if args.umap:
        unmappable = unmappable_bins(sequences, read_regions(args, "umap", genome), args.bin_width)
        kept = unmappable.mean(axis=1) < args.umap_t
        sequences, unmappable = sequences.take(kept), unmappable[kept]
        empty = next((split for split, count in sequences.counts().items() if not count), None)
        if empty is not None:
            raise JaxepiError(
                f"split {empty!r} is empty: at least {args.umap_t:g} of the bins of each of its windows are "
                f"unmappable, so raise --umap-t, or check that {args.umap} is of this genome build"
            )
    left_out = {split: before[split] - count for split, count in sequences.counts().items()}
    count, tracks = len(sequences), len(table.targets)
    bins = sequences.length // args.bin_width
    blacklist = read_regions(args, "blacklist", genome) if args.blacklist else Intervals.of([])
    how = TRANSFORMS[args.transform]
    binning = Binning(args.bin_width, how, args.interpolate, args.missing, args.clip_pct)
    aggregator = Aggregator(folder, table.targets, sequences, binning, blacklist, args.chrom_prefix)
    writing = Writing(
        args.crop, args.bin_width, args.decimals, args.umap_clip, args.umap_tfr, how.dtype == "float16", args.missing,
    )  # fmt: skip
    beside = open_beside(args, genome, table)
    per_base = 3 if beside.conservation is not None else 1
    per_bin = 3 if beside.peaks is not None else 2
    dataset.require_space(folder, int((1 + SPACE_FACTOR) * count * (per_bin * bins * tracks + per_base * args.window)))
    store = aggregate(aggregator, args.processes or available_processes(), not args.no_progress)
    return CoverageRecipe(genome, store, sequences, writing, table, contigs, unmappable, left_out, beside)


def _writer(args: argparse.Namespace) -> dataset.Writer | None:
    """What writes the original's layout; None for that of TFDS."""
    if args.layout == "tfds":
        return None
    one_hot = TRANSFORMS[args.transform].one_hot_bytes
    return folder_writer(FolderStyle(args.per_file, one_hot, args.layout == "original-exact"))


def report(built: dataset.Built) -> None:
    """Prints what every split holds, and warns of what should be looked at."""
    manifest = built.manifest
    tracks = manifest["tracks"]
    for split, counts in manifest["splits"].items():
        total = counts["records"] * manifest["bins"]
        shares = {name: np.array(counts[f"bins_{name}"]) / total for name in COUNTS if f"bins_{name}" in counts}
        means = [f"{share.mean():.2%} {name.replace('_', ' ')}" for name, share in shares.items() if share.any()]
        bases = counts["records"] * manifest["window"]
        mean = f", of the mean track {', '.join(means)}" if means else ""
        print(
            f"{split}: {counts['records']} windows{_left_out_note(counts)} in {counts['shards']} "
            f"file(s), {total} bins of {len(tracks)} track(s){mean}; "
            f"{counts['n_bases'] / bases:.1%} N{ambiguity_note(counts)}{_beside_note(counts, bases, total)}"
        )
        if counts.get("conservation_missing") == bases:
            warn(f"in {split}, no base has a score of conservation")
        if counts.get("conservation_outside"):
            warn(f"in {split}, {counts['conservation_outside']} scores of conservation lie outside 0 to 1")
        for name, (most, told) in _TELLING.items():
            many = _some([track for track, share in zip(tracks, shares.get(name, ()), strict=False) if share > most])
            if many:
                warn(f"in {split}, more than {most:.0%} of the bins of {many} {told}")
        empty = _some([track for track, share in zip(tracks, shares["nonzero"], strict=True) if not share])
        if empty:
            warn(f"in {split}, all bins of {empty} are 0")
    total = sum(counts["records"] for counts in manifest["splits"].values())
    print(f"{total} windows of {manifest['bins']} bins in {manifest['seconds']} s: {built.path}")


def _left_out_note(counts: Mapping[str, Any]) -> str:
    left_out = counts.get("left_out_unmappable")
    return f" ({left_out} left out as unmappable)" if left_out else ""


def _beside_note(counts: Mapping[str, Any], bases: int, bins: int) -> str:
    """What a line about a split says on conservation and labels."""
    notes = []
    if "conservation_missing" in counts:
        notes.append(f"{counts['conservation_missing'] / bases:.1%} of the bases without conservation")
    if "bins_labelled" in counts:
        notes.append(f"{np.mean(counts['bins_labelled']) / bins:.2%} of the bins labelled in the mean track")
    return "".join(f", {note}" for note in notes)


def _some(tracks: Sequence[str]) -> str:
    """How many tracks, with the names of the first ones; nothing of none."""
    return f"{len(tracks)} track(s) ({', '.join(tracks[:3])}{' …' if tracks[3:] else ''})" if tracks else ""
