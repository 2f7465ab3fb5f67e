"""`python -m data_prep labels`: tracks as labels of windows, per bin and per window, also of another assembly."""

import argparse
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build import dataset
from data_prep.build.folder import BuildFolder
from data_prep.build.options import (
    PROGRAM,
    Help,
    add_chrom_prefix,
    add_output_options,
    check_least,
    made_before,
    parse_options,
    refuse_unused,
)
from data_prep.build.recipe import Block, Tally
from data_prep.build.replace import check_replaceable
from data_prep.build.runner import available_processes, block_map
from data_prep.labels.chains import Chains
from data_prep.labels.folder import LAYOUTS, NO_SPLIT, LabelWriter
from data_prep.labels.mapping import LIFTS, REASONS, Geometry, Mapper
from data_prep.labels.track_table import CHROM, KINDS, LabelTrack, paper_tracks, read_table, track_paths
from data_prep.labels.values import PAST_END, LabelWork
from data_prep.sources.preflight import check_naming
from data_prep.sources.tracks import TrackFile, read_header
from jaxepi import __version__
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise_all
from jaxepi.genome.window_table import LABELS, Regions, read_bed_windows

PAPER = "cs282a"
_WINDOWS_PER_BLOCK = 32


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} labels",
        description="Makes labels of windows from BigWig tracks: a value per bin and track, and per window and track.",
        formatter_class=Help,
    )
    g = p.add_argument_group("input")
    g.add_argument(
        "--windows", required=True, metavar="BED", help="windows of one length; the fourth column is the split"
    )
    kinds = "; ".join(f"{kind}: {about}" for kind, about in KINDS.items())
    g.add_argument(
        "--tracks",
        required=True,
        metavar="CSV",
        help=f"table with name, kind, file, and if needed valid, scale, window_scale, lifted ({kinds}); or {PAPER}, "
        "its 18 tracks",
    )
    g.add_argument("--folder", metavar="DIR", help="where the files of the table lie (default: beside the table)")
    add_chrom_prefix(g, "windows and BigWigs")
    g = p.add_argument_group("bins")
    g.add_argument("--bin-width", type=int, default=128, metavar="BP", help="width of a bin")
    g.add_argument("--crop", type=int, default=8192, metavar="BP", help="bp at either end of a window without a label")
    g.add_argument(
        "--gap-log2", type=float, default=-2.0, metavar="V",
        help="value of bases without a record in tracks of log2; the original has 0",
    )  # fmt: skip
    g = p.add_argument_group("tracks of another assembly")
    g.add_argument("--chains", nargs="+", default=[], metavar="FILE", help="chain files, one after the other")
    g.add_argument(
        "--lift",
        choices=LIFTS,
        default="bins",
        help="bins: every bin, what is missing is NaN; parity: the window's start alone and 0, as the original",
    )
    g.add_argument(
        "--length-change",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="share of a window by which its bins may move against each other, else its tracks are left out",
    )
    g.add_argument(
        "--least-mapped", type=float, default=0.5, metavar="SHARE", help="share of bins that must have a place"
    )
    g = p.add_argument_group("output")
    add_output_options(g)
    g.add_argument("--layout", choices=LAYOUTS, default="npy", help="two .npy files, or the HDF5 file of the original")
    g = p.add_argument_group("running")
    g.add_argument("--processes", type=int, default=0, metavar="N", help="worker processes; 0 = one per core")
    g.add_argument("--no-progress", action="store_true", help="no progress bar")
    return p


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints what is missing and the place of the labels."""
    args, typed = parse_options(parser(program), argv)
    _check_options(args, typed)
    tracks, folder = _tracks(args)
    regions = read_bed_windows(Path(args.windows), args.chrom_prefix)
    geometry = _geometry(args, regions)
    paths = track_paths(tracks, folder, sorted(set(regions.chrom)))
    inputs = dataset.describe_inputs(_input_files(args, paths))
    arguments = _arguments(args, tracks)
    if made_before(args, LABELS, arguments, inputs):
        return 0
    mapper = _mapper(args, tracks, regions, geometry)
    contigs = _check_files(args, tracks, paths, regions, geometry, mapper)
    work = LabelWork(
        tracks, paths, contigs, regions, geometry, mapper, gap_log2=args.gap_log2, parity=args.lift == "parity",
        prefix=args.chrom_prefix,
    )  # fmt: skip
    dataset.require_space(Path(args.out), 4 * regions.count * (geometry.bins + 1) * len(tracks))
    manifest = _build(args, work, inputs, arguments)
    _report(Path(args.out), manifest)
    return 0


def _check_options(args: argparse.Namespace, typed: Collection[str]) -> None:
    refuse_unused(
        typed,
        [
            (bool(args.chains), "--chains", ["lift", "length_change", "least_mapped"]),
            (args.lift == "bins", "--lift bins", ["length_change", "least_mapped"]),
        ],
    )
    check_least(args, {"bin_width": 1, "crop": 0, "length_change": 0, "least_mapped": 0, "processes": 0})
    if not abs(args.gap_log2) <= 64:
        raise JaxepiError(f"--gap-log2 is {args.gap_log2}: a logarithm of base 2 was expected, such as -2 or 0")


def _tracks(args: argparse.Namespace) -> tuple[tuple[LabelTrack, ...], Path]:
    """The tracks, and the folder of their files."""
    paper = args.tracks == PAPER
    if paper and args.folder is None:
        raise JaxepiError(f"--tracks {PAPER} needs --folder, in which the files of its tracks lie")
    tracks = paper_tracks() if paper else read_table(Path(args.tracks))
    lifted = [track.name for track in tracks if track.lifted]
    if lifted and not args.chains:
        raise JaxepiError(
            f"track {lifted[0]!r} is of another assembly (`lifted`): give the chain files that lead there with --chains"
        )
    if args.chains and not lifted:
        raise JaxepiError("--chains does nothing, as no track is `lifted`: leave it out, or mark the tracks with yes")
    return tracks, Path(args.folder) if args.folder is not None else Path(args.tracks).parent


def _geometry(args: argparse.Namespace, regions: Regions) -> Geometry:
    length = int(regions.end[0] - regions.start[0])
    inner = length - 2 * args.crop
    if inner <= 0 or inner % args.bin_width:
        raise JaxepiError(
            f"windows of {args.windows} have {length} bp, and without --crop {args.crop} at either end {inner} bp are "
            f"left, which are no whole number of bins of {args.bin_width} bp: change --crop or --bin-width"
        )
    return Geometry(args.crop, args.bin_width, inner // args.bin_width)


def _mapper(
    args: argparse.Namespace, tracks: Sequence[LabelTrack], regions: Regions, geometry: Geometry
) -> Mapper | None:
    if not args.chains:
        return None
    chains = Chains([Path(path) for path in args.chains])
    own = sorted(set(regions.chrom))
    if not chains.sources().intersection(own):
        check_naming(Path(args.windows), own, args.chains[0], chains.sources())
        raise JaxepiError(
            f"{args.chains[0]} has no chain from {', '.join(own[:3])}, where the windows lie: give the chain file of "
            "their assembly first"
        )
    return Mapper(chains, geometry, args.lift, args.length_change, args.least_mapped)


def _check_files(
    args: argparse.Namespace,
    tracks: Sequence[LabelTrack],
    paths: Mapping[str, Path],
    regions: Regions,
    geometry: Geometry,
    mapper: Mapper | None,
) -> dict[str, dict[str, int]]:
    """Contigs of every file, checked against the windows or the assembly to which the chains lead."""
    header = {name: read_header(TrackFile(name, path)) for name, path in paths.items()}
    contigs = {
        name: {own: lengths[file] for own, file in harmonise_all(list(lengths), args.chrom_prefix).items()}
        for name, lengths in header.items()
    }
    reach = {
        chrom: int(regions.end[np.array(regions.chrom) == chrom].max()) - geometry.crop for chrom in set(regions.chrom)
    }
    for track in tracks:
        for file in track.files:
            for chrom in sorted(reach):
                name = file.replace(CHROM, chrom)
                if not track.lifted:
                    _check_own(paths[name], contigs[name], chrom, reach, args.windows)
                elif args.lift == "bins":
                    _check_target(paths[name], contigs[name], chrom, mapper)
    return contigs


def _check_own(path: Path, lengths: Mapping[str, int], chrom: str, reach: Mapping[str, int], windows: str) -> None:
    """Raises JaxepiError if a file of the windows' assembly has no such chromosome, or a shorter one."""
    if chrom not in lengths:
        check_naming(Path(windows), reach, path, lengths)
        raise JaxepiError(f"{path} has no {chrom}, where windows of {windows} lie: leave these windows out")
    if reach[chrom] > lengths[chrom]:
        raise JaxepiError(
            f"{windows} has windows up to {chrom}:{reach[chrom]}, but {chrom} has {lengths[chrom]} bases in {path}: "
            "use files of the same genome build"
        )


def _check_target(path: Path, lengths: Mapping[str, int], chrom: str, mapper: Mapper) -> None:
    """Raises JaxepiError if a file is not of the assembly to which the chain files lead."""
    last = mapper.chains.files[-1]
    expected = dict(zip(last.targets, last.target_lengths, strict=True))
    if chrom not in expected:
        return  # its windows have no place there
    if chrom not in lengths:
        check_naming(path, lengths, last.path, expected)
        raise JaxepiError(f"{path} has no {chrom}, to which {last.path} leads: leave windows of {chrom} out")
    if lengths[chrom] != expected[chrom]:
        raise JaxepiError(
            f"{chrom} has {lengths[chrom]} bases in {path} and {expected[chrom]} in {last.path}: give the chain files "
            "that lead to the assembly of the tracks"
        )


def _input_files(args: argparse.Namespace, paths: Mapping[str, Path]) -> dict[str, Path]:
    files = {"windows": Path(args.windows).absolute()}
    files |= {f"chain {number}": Path(path).absolute() for number, path in enumerate(args.chains, 1)}
    return files | {f"track {name}": path for name, path in paths.items()}


def _arguments(args: argparse.Namespace, tracks: Sequence[LabelTrack]) -> dict[str, Any]:
    """What decides the content; files are told apart by their digests instead."""
    by_bins = bool(args.chains) and args.lift == "bins"
    return {
        "tracks": [[t.name, t.kind, t.file, t.valid, t.scale, t.window_scale, t.lifted] for t in tracks],
        "chrom_prefix": args.chrom_prefix,
        "bin_width": args.bin_width,
        "crop": args.crop,
        "gap_log2": args.gap_log2,
        "chains": len(args.chains),
        "lift": args.lift,
        "length_change": args.length_change if by_bins else None,
        "least_mapped": args.least_mapped if by_bins else None,
        "layout": args.layout,
    }


def _build(
    args: argparse.Namespace, work: LabelWork, inputs: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes the labels beside their place and puts them there, whole or not at all; returns the manifest."""
    from tqdm import tqdm

    from jaxepi.data.array_folder import fingerprint_of_arrays
    from jaxepi.data.manifest import sealed

    regions, geometry, out, tally = work.regions, work.geometry, Path(args.out), Tally()
    shape = (regions.count, geometry.bins, len(work.tracks))
    blocks = [
        Block(low, min(_WINDOWS_PER_BLOCK, regions.count - low), None)
        for low in range(0, regions.count, _WINDOWS_PER_BLOCK)
    ]
    with BuildFolder(out) as place:
        try:
            made = place.folder / "labels"
            made.mkdir()
            writer = LabelWriter(made, regions, shape, geometry.bin_width, args.layout)
            bar = tqdm(total=regions.count, desc="labels", unit=" windows", disable=args.no_progress, mininterval=0.5)
            with block_map(work, args.processes or available_processes()) as mapped, bar:
                for result in mapped(blocks):
                    ((low, own),) = result.records
                    writer.write(low, own["bins"], own["window"], own["state"])
                    tally.merge(result.tally)
                    bar.update(len(own["state"]))
            files = writer.finish()
            splits = {name or NO_SPLIT: {"records": count} for name, count in Counter(regions.split).items()}
            manifest = {
                "kind": LABELS, "jaxepi_version": __version__, "arguments": dict(arguments), "inputs": list(inputs),
                "fingerprint": fingerprint_of_arrays(arguments, files), "splits": splits, "files": files,
                "tracks": [track.name for track in work.tracks], "count": regions.count,
                "window": int(regions.end[0] - regions.start[0]), "bins": geometry.bins,
                "bin_width": geometry.bin_width, "crop": geometry.crop, "counts": tally.to_json(),
            }  # fmt: skip
            (made / "manifest.json").write_text(sealed(manifest))
            if args.overwrite:
                check_replaceable(out, inputs)
            place.publish(made, replace=args.overwrite)
        except OSError as error:
            raise JaxepiError(
                f"writing {out} failed ({error.strerror or error}) and nothing was left behind: check the free space "
                "and the permissions, or choose another --out"
            ) from error
    return manifest


def _report(out: Path, manifest: Mapping[str, Any]) -> None:
    counts, windows, bins = manifest["counts"], manifest["count"], manifest["bins"]
    left_out = [f"{counts[name]} {name} ({why})" for name, why in REASONS.items() if counts.get(name)]
    if left_out:
        print(f"windows of {windows} without tracks of the other assembly: {', '.join(left_out)}")
    if counts.get(PAST_END):
        print(f"windows that run over the end of their contig in the other assembly: {counts[PAST_END]}")
    for name, missing, over in zip(manifest["tracks"], counts["missing_bins"], counts["ratios_above_1"], strict=True):
        if missing:
            print(f"{name}: {missing / (windows * bins):.1%} of the bins have no label")
        if over:
            print(f"warning: {name} has {over} bins in which the part is more than the whole", file=sys.stderr)
    print(f"{windows:,} windows of {bins} bins and {len(manifest['tracks'])} tracks in {out}")
