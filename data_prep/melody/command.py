"""`python -m data_prep melody`: FASTA and methylation BigWigs to a dataset of windows."""

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build import dataset
from data_prep.build.options import (
    PROGRAM,
    SPACE_FACTOR,
    Help,
    add_chrom_prefix,
    add_extra_chroms,
    add_output_options,
    add_running_options,
    check_least,
    check_running,
    execution_of,
    made_before,
    parse_options,
    refuse_beside,
    refuse_unused,
)
from data_prep.melody.recipe import DYAD_MODES, SCALES, VALUE_DTYPES, MelodyRecipe
from data_prep.sources import preflight, regions
from data_prep.sources.genome import Genome, ambiguity_note
from data_prep.sources.tracks import TrackFile, TrackReader, read_header, resolve_tracks
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import harmonise_all
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.genome.text_files import read_bed

# Shares of recordless CpGs and of off-CpG values above which the user should look at the files.
_MANY_RECORDLESS = 0.5
_HOWS = "tiles, random:N or blocks"


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} melody",
        description="Makes a TFRecord dataset (TFDS layout) of genome windows with the values of methylation tracks.",
        formatter_class=Help,
    )
    _add_inputs(p.add_argument_group("input"))
    _add_windows(p.add_argument_group("windows and splits"))
    _add_records(p.add_argument_group("records"))
    add_running_options(p.add_argument_group("running"))
    return p


def _add_inputs(g: Any) -> None:
    g.add_argument("--fasta", required=True, help="genome, FASTA, plain or block-gzipped")
    g.add_argument(
        "--bigwigs", nargs="+", default=[], metavar="FILE", help="one BigWig a track, -1 = no coverage; see --scale"
    )
    g.add_argument(
        "--scale", choices=SCALES, default="fraction", help="what the tracks hold: 0 to 1, or percent, 0 to 100"
    )
    g.add_argument(
        "--bigwigs-dir", metavar="DIR", help="folder in which track files are looked up by name or part of a name"
    )
    g.add_argument(
        "--tracks", metavar="CSV", help="table with the columns name,file (or track_name,bigwig_file), a row a track"
    )
    add_chrom_prefix(g)
    add_extra_chroms(g, "a track")


def _add_windows(g: Any) -> None:
    g.add_argument(
        "--window",
        type=int,
        default=10_000,
        metavar="BP",
        help="window length in bp; the model needs a multiple of 2000",
    )
    g.add_argument(
        "--windows",
        nargs="+",
        default=["tiles"],
        metavar="[SPLIT=]HOW",
        help=f"how windows are laid, for all splits or for one: {_HOWS}; for example train=random:200000 valid=tiles",
    )
    g.add_argument("--stride", type=int, metavar="BP", help="distance of tile starts in bp (default: --window)")
    g.add_argument("--seed", type=int, default=5, help="of random windows, a whole number")
    g.add_argument(
        "--valid-chroms",
        nargs="+",
        default=list(regions.PAPER_VALID),
        metavar="CHROM",
        help="validation split, or none",
    )
    g.add_argument(
        "--test-chroms", nargs="+", default=list(regions.PAPER_TEST), metavar="CHROM", help="test split, or none"
    )
    g.add_argument(
        "--drop-chroms", nargs="+", default=list(regions.PAPER_DROP), metavar="CHROM", help="in no split, or none"
    )
    g.add_argument(
        "--regions", metavar="BED", help="splits from a BED file, fourth column = split, instead of chromosomes"
    )
    g.add_argument(
        "--blocks", metavar="FILE", help="BED or CSV of blocks (chrom, start, end) for splits laid as `blocks`"
    )
    g.add_argument("--blacklist", metavar="BED", help="regions that windows should not touch")
    g.add_argument(
        "--blacklist-treatment",
        choices=("drop", "zero"),
        default="drop",
        help="drop (random ones are drawn again), or keep and mark as `blanked`: the original's all-zero sequence",
    )
    g.add_argument(
        "--max-n-fraction",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="leave out windows whose share of N reaches this: 1 = nothing but N, 2 = keep all",
    )
    g.add_argument("--drop-empty", action="store_true", help="leave out windows without a recorded CpG")


def _add_records(g: Any) -> None:
    add_output_options(g)
    g.add_argument(
        "--dyads",
        choices=DYAD_MODES,
        default="both",
        help="both: a CpG recorded at one letter counts at both; as-recorded: as the original reads it",
    )
    g.add_argument("--value-dtype", choices=VALUE_DTYPES, default="float32", help="float16 halves the size, 3 digits")


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    _check_options(args, typed)
    check_running(args)
    genome = Genome(args.fasta, args.chrom_prefix)
    tracks = resolve_tracks(args.bigwigs, args.bigwigs_dir, args.tracks)
    lengths = _check_tracks(args, genome, tracks)
    spans = _spans(args, genome)
    _warn_uncovered(spans, lengths)
    inputs = dataset.describe_inputs(_input_files(args, genome, tracks))
    arguments = _arguments(args, tracks)
    if made_before(args, MelodyRecipe.name, arguments, inputs):
        return 0
    windows, placement = _windows(args, genome, spans)
    recipe = MelodyRecipe(
        genome,
        TrackReader(tracks, args.chrom_prefix),
        windows,
        args.window,
        dyads=args.dyads,
        value_dtype=args.value_dtype,
        max_n_fraction=args.max_n_fraction,
        drop_empty=args.drop_empty,
        scale=args.scale,
        placement=placement,
    )
    count = sum(map(len, windows.values()))
    dataset.require_space(Path(args.out), int(SPACE_FACTOR * count * recipe.bytes_per_record()))
    execution = execution_of(args)
    built = dataset.build(recipe, Path(args.out), arguments, inputs, execution)
    _report(built)
    return 0


def _check_options(args: argparse.Namespace, typed: Collection[str]) -> None:
    """Numbers, and options that would do nothing."""
    hows = {word.rpartition("=")[2].partition(":")[0] for word in args.windows}
    tiled = "tiles" in hows or all("=" in word for word in args.windows)  # splits without a word are tiled
    refuse_unused(
        typed,
        [
            ("random" in hows, "--windows random:N", ["seed"]),
            (tiled, "--windows tiles", ["stride"]),
            ("blocks" in hows, "--windows blocks", ["blocks"]),
            (args.blacklist is not None, "--blacklist", ["blacklist_treatment"]),
        ],
    )
    if args.regions:
        refuse_beside(typed, "--regions", ["valid_chroms", "test_chroms", "drop_chroms"])
    check_least(args, {"window": 1, "stride": 1, "seed": 0})
    if args.seed >= 1 << 32:
        raise JaxepiError(f"--seed is {args.seed}: a number below {1 << 32} was expected")
    if not args.max_n_fraction > 0:
        raise JaxepiError(
            f"--max-n-fraction is {args.max_n_fraction}: a share above 0 was expected, 1 leaves out windows of N only"
        )


def _check_tracks(args: argparse.Namespace, genome: Genome, tracks: Sequence[TrackFile]) -> dict[str, dict[str, int]]:
    checked = {}
    for track in tracks:
        header = read_header(track)
        lengths = {name: header[own] for name, own in harmonise_all(list(header), args.chrom_prefix).items()}
        preflight.check_track(genome.path, genome.lengths, track.path, lengths, args.extra_chroms)
        checked[track.name] = lengths
    return checked


def _named(chroms: Sequence[str]) -> list[str]:
    return [] if list(chroms) == ["none"] else list(chroms)


def _spans(args: argparse.Namespace, genome: Genome) -> dict[str, list[Interval]]:
    if args.regions:
        spans = regions.split_by_regions(args.regions, genome.lengths, args.chrom_prefix)
        if not spans:
            raise JaxepiError(
                f"{args.regions} holds no region: BED rows with a split in the fourth column were expected"
            )
        return spans
    valid, test = _named(args.valid_chroms), _named(args.test_chroms)
    spans = regions.split_by_chromosome(genome.lengths, valid, test, _named(args.drop_chroms))
    preflight.check_splits(genome.path, genome.lengths, spans, {"valid-chroms": valid, "test-chroms": test})
    return spans


def _warn_uncovered(spans: dict[str, list[Interval]], lengths: dict[str, dict[str, int]]) -> None:
    bare = sorted(preflight.uncovered_chromosomes(spans, lengths))
    if bare:
        print(
            f"warning: no track covers {', '.join(bare[:5])}{' …' if bare[5:] else ''}; --drop-chroms leaves them out",
            file=sys.stderr,
        )


def _input_files(args: argparse.Namespace, genome: Genome, tracks: Sequence[TrackFile]) -> dict[str, Path]:
    files = {"fasta": genome.path} | {f"track {track.name}": track.path for track in tracks}
    for role in ("regions", "blocks", "blacklist"):
        given = getattr(args, role)
        if given is not None:
            if not Path(given).is_file():
                raise JaxepiError(f"{given} does not exist: --{role} needs a file")
            files[role] = Path(given).absolute()
    return files


def _arguments(args: argparse.Namespace, tracks: Sequence[TrackFile]) -> dict[str, Any]:
    """What decides the content, in one form however it was typed; files are told apart by their digests instead."""
    by_regions = args.regions is not None
    return {
        "tracks": [track.name for track in tracks],
        "chrom_prefix": args.chrom_prefix,
        "window": args.window,
        "windows": sorted(args.windows),
        "stride": args.stride or args.window,
        "seed": args.seed,
        "valid_chroms": None if by_regions else sorted(_named(args.valid_chroms)),
        "test_chroms": None if by_regions else sorted(_named(args.test_chroms)),
        "drop_chroms": None if by_regions else sorted(_named(args.drop_chroms)),
        "blacklist_treatment": args.blacklist_treatment if args.blacklist else None,
        "max_n_fraction": args.max_n_fraction,
        "drop_empty": args.drop_empty,
        "dyads": args.dyads,
        "value_dtype": args.value_dtype,
        "scale": None if args.scale == "fraction" else args.scale,  # as in datasets from before there was a choice
    }


def _how(args: argparse.Namespace, splits: Sequence[str]) -> dict[str, str]:
    """Placement per split from `--windows`."""
    chosen = dict.fromkeys(splits, "tiles")
    for word in args.windows:
        split, _, how = word.rpartition("=")
        number = how.removeprefix("random:")
        drawn = how.startswith("random:") and number.isdecimal() and int(number) > 0
        if how not in ("tiles", "blocks") and not drawn:
            raise JaxepiError(f"--windows {word}: {how!r} is no placement, use {_HOWS}")
        if split and split not in chosen:
            raise JaxepiError(
                f"--windows {word}: there is no split {split!r}{did_you_mean(split, chosen)}, only {', '.join(chosen)}"
            )
        chosen |= {split: how} if split else dict.fromkeys(splits, how)
    if "blocks" in chosen.values() and not args.blocks:
        raise JaxepiError("--windows asks for blocks and no file is given: name a BED or CSV file with --blocks")
    return chosen


def _blacklist(args: argparse.Namespace, genome: Genome) -> Intervals:
    path = Path(args.blacklist)
    blacklist = Intervals.of(row.interval for row in read_bed(path, args.chrom_prefix))
    elsewhere = regions.check_inside(path, blacklist, genome.lengths)
    if elsewhere:
        _warn(f"{elsewhere} regions of {path} lie on chromosomes that {genome.path} lacks")
    return blacklist


def _blocks(args: argparse.Namespace, genome: Genome) -> tuple[list[Interval], int]:
    """Blocks on chromosomes of the genome, and how many are on others."""
    path = Path(args.blocks)
    blocks = regions.read_blocks(path, args.chrom_prefix)
    elsewhere = regions.check_inside(path, Intervals.of(blocks), genome.lengths)
    if elsewhere:
        _warn(f"{elsewhere} blocks of {path} lie on chromosomes that {genome.path} lacks and get no window")
    return [block for block in blocks if block.chrom in genome.lengths], elsewhere


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _windows(
    args: argparse.Namespace, genome: Genome, spans: dict[str, list[Interval]]
) -> tuple[dict[str, regions.Windows], dict[str, dict[str, int]]]:
    """Windows per split, and counts per split of what got none."""
    blacklist = _blacklist(args, genome) if args.blacklist else None
    drop = blacklist if args.blacklist_treatment == "drop" else None
    made: dict[str, regions.Windows] = {}
    counts: dict[str, dict[str, int]] = {}
    for split, how in _how(args, list(spans)).items():
        counts[split] = {}
        if how.startswith("random:"):
            windows, _ = regions.draw(spans[split], args.window, int(how.removeprefix("random:")), args.seed, drop)
        elif how == "blocks":
            blocks, elsewhere = _blocks(args, genome)
            windows, at_ends = regions.centre_on_blocks(blocks, spans[split], args.window, genome.lengths)
            if at_ends:
                _warn(f"{at_ends} blocks of {split} are too near a chromosome end for a window")
            counts[split] |= {"blocks_at_ends": at_ends, "blocks_elsewhere": elsewhere}
        else:
            windows = regions.tile(spans[split], args.window, args.stride or args.window)
        windows = windows.sorted()
        if blacklist is not None:
            touched = regions.mark(windows, args.window, blacklist)
            if drop is not None:
                windows = windows.take(~touched)
                counts[split]["left_out_blacklist"] = int(touched.sum())
            else:
                windows = regions.Windows(windows.chroms, windows.chrom_id, windows.start, touched)
        if not len(windows):
            raise JaxepiError(
                f"split {split!r} is empty: none of its regions holds a window of {args.window} bp, so use a smaller "
                "--window or other regions"
            )
        made[split] = windows
    return made, counts


def _report(built: dataset.Built) -> None:
    manifest = built.manifest
    for split, counts in manifest["splits"].items():
        letters = max(counts["cpg_letters"], 1)
        recordless = np.array(counts["cpg_letters_recordless"]) / letters
        uncovered = np.array(counts["uncovered"]) / letters
        left_out = sum(counts.get(f"left_out_{why}", 0) for why in ("n", "empty", "blacklist"))
        bases = counts["records"] * manifest["window"]
        print(
            f"{split}: {counts['records']} windows ({left_out} left out) in {counts['shards']} shard(s), "
            f"{counts['cpg_letters']} CpG letters, of which {recordless.mean():.1%} without a record and "
            f"{uncovered.mean():.1%} without coverage (-1) in the mean track; {counts['n_bases'] / bases:.1%} N"
            f"{ambiguity_note(counts)}"
        )
        many = [name for name, share in zip(manifest["tracks"], recordless, strict=True) if share > _MANY_RECORDLESS]
        if many:
            print(
                f"warning: in {split}, {len(many)} of {len(manifest['tracks'])} tracks have no record at more than "
                f"{_MANY_RECORDLESS:.0%} of the CpG letters ({', '.join(many[:3])}{' …' if many[3:] else ''})",
                file=sys.stderr,
            )
    total = sum(counts["records"] for counts in manifest["splits"].values())
    print(f"{total} windows in {manifest['seconds']} s: {built.path}")
