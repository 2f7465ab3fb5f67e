"""`python -m data_prep embeddings`: embeddings of windows and their labels to a dataset. No model is run."""

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
    add_output_options,
    add_running_options,
    check_running,
    execution_of,
    made_before,
    parse_options,
    refuse_beside,
)
from data_prep.embeddings.recipe import EmbeddingRecipe
from data_prep.labels.folder import NO_SPLIT, Labels
from data_prep.labels.track_table import paper_tracks
from jaxepi.errors import JaxepiError
from jaxepi.genome.window_table import Regions, read_bed_windows

RESOLUTIONS = ("bin", "window")
_GEOMETRY = ("window", "bins", "bin_width", "crop")


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} embeddings",
        description="Makes a TFRecord dataset (TFDS layout) of embeddings and labels with a row a window each.",
        formatter_class=Help,
    )
    g = p.add_argument_group("input")
    g.add_argument(
        "--embeddings", required=True, metavar="PATH", help="folder of launch.py embed, or embeddings.h5 of CS282A"
    )
    g.add_argument(
        "--labels",
        required=True,
        metavar="PATH",
        help="folder of data_prep labels, HDF5 with <bp>bp_bins and single_bin, or .npy (windows, [bins,] tracks)",
    )
    g.add_argument(
        "--resolution", choices=RESOLUTIONS, default="bin", help="a label for each bin, or one for the whole window"
    )
    g.add_argument("--track-names", nargs="+", metavar="NAME", help="of labels in files that name none")
    g.add_argument(
        "--bin-width", type=int, default=128, metavar="BP", help="of embeddings in a file, which does not tell it"
    )
    g = p.add_argument_group("windows and splits")
    g.add_argument(
        "--windows", metavar="BED", help="the windows of the rows, fourth column = split, if the inputs tell none"
    )
    g.add_argument(
        "--splits", nargs="+", metavar="NAME=LOW:HIGH", help="splits as ranges of rows, such as train=0:34021"
    )
    g.add_argument("--drop-missing", action="store_true", help="leave out windows in which a track has no label")
    g = p.add_argument_group("output")
    add_output_options(g)
    add_running_options(p.add_argument_group("running"))
    return p


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    check_running(args)
    from jaxepi.data.array_folder import Embeddings

    embeddings = Embeddings(Path(args.embeddings))
    told = embeddings.manifest
    if told is not None:
        refuse_beside(typed, "a folder of embeddings, which tells it", ["bin_width"])
    width = args.bin_width if told is None else told["bin_width"]
    labels = Labels(Path(args.labels), args.resolution, width)
    regions = _regions(args, embeddings, labels)
    geometry = _geometry(args, embeddings, labels, regions)
    splits = _splits(args, regions)
    tracks = _tracks(args, labels, typed)
    inputs = dataset.describe_inputs(_input_files(args))
    arguments = {
        "resolution": args.resolution,
        "track_names": tracks,
        "bin_width": width,
        "splits": sorted(args.splits) if args.splits else None,
        "drop_missing": args.drop_missing,
    }
    if made_before(args, EmbeddingRecipe.name, arguments, inputs):
        return 0
    _check_content(args)
    about = geometry | {
        "channels": embeddings.shape[2], "tracks": tracks, "resolution": args.resolution,
        "embedding_dtype": embeddings.dtype, "trunk": None if told is None else told["trunk"],
        "embeddings_fingerprint": inputs[0]["digest"] if told is None else told["fingerprint"],
        "labels_fingerprint": inputs[1]["digest"] if labels.manifest is None else labels.manifest["fingerprint"],
    }  # fmt: skip
    recipe = EmbeddingRecipe(embeddings, labels, regions, splits, about, args.drop_missing)
    count = sum(map(len, splits.values()))
    dataset.require_space(Path(args.out), int(SPACE_FACTOR * count * recipe.bytes_per_record()))
    _report(dataset.build(recipe, Path(args.out), arguments, inputs, execution_of(args)))
    return 0


def _regions(args: argparse.Namespace, embeddings: Any, labels: Labels) -> Regions:
    """The windows of the rows, after all that tells them was compared."""
    told = {args.embeddings: embeddings.regions, args.labels: labels.regions}
    if args.windows is not None:
        told = {args.windows: read_bed_windows(Path(args.windows))} | told
    counts = {args.embeddings: embeddings.shape[0], args.labels: labels.shape[0]}
    counts |= {path: regions.count for path, regions in told.items() if regions is not None}
    first = next(iter(counts))
    for path, count in counts.items():
        if count != counts[first]:
            raise JaxepiError(
                f"{first} has {counts[first]} rows and {path} has {count}: give embeddings, labels and windows of the "
                "same windows in the same order"
            )
    known = {path: regions for path, regions in told.items() if regions is not None}
    if not known:
        raise JaxepiError(
            f"neither {args.embeddings} nor {args.labels} tells its windows: give their BED file with --windows"
        )
    one, regions = next(iter(known.items()))
    for path, other in known.items():
        row = regions.difference(other)
        if row is not None:
            raise JaxepiError(
                f"row {row} is {regions.shown(row)} in {one} and {other.shown(row)} in {path}: give embeddings, labels "
                "and windows of the same windows in the same order"
            )
    return regions


def _geometry(args: argparse.Namespace, embeddings: Any, labels: Labels, regions: Regions) -> dict[str, Any]:
    """Window, bins, bin width and crop, which the labels must share."""
    _, bins, _ = embeddings.shape
    window = int(regions.end[0] - regions.start[0])
    if embeddings.manifest is not None:
        geometry = {name: embeddings.manifest[name] for name in _GEOMETRY}
    else:
        crop, odd = divmod(window - bins * args.bin_width, 2)
        if crop < 0 or odd:
            raise JaxepiError(
                f"{args.embeddings} has {bins} bins, which do not fit into windows of {window} bp with "
                f"{args.bin_width} bp each: set --bin-width"
            )
        geometry = {"window": window, "bins": bins, "bin_width": args.bin_width, "crop": crop}
    if args.resolution == "bin" and labels.shape[1] != bins:
        raise JaxepiError(
            f"{args.labels} has labels of {labels.shape[1]} bins and {args.embeddings} has {bins} bins a window: give "
            "labels of the same bins, or --resolution window"
        )
    for name in _GEOMETRY if labels.manifest is not None else ():
        if name in ("bins", "bin_width") and args.resolution == "window":
            continue  # of a whole window only its bounds matter
        if labels.manifest[name] != geometry[name]:
            raise JaxepiError(
                f"{args.labels} was made with {name} {labels.manifest[name]}, but the embeddings of {args.embeddings} "
                f"have {name} {geometry[name]}: make the labels for this trunk"
            )
    return geometry


def _splits(args: argparse.Namespace, regions: Regions) -> dict[str, np.ndarray]:
    """Rows of each split, ascending."""
    if not args.splits:
        names = list(dict.fromkeys(regions.split))
        if not set(names) - {"", NO_SPLIT}:
            raise JaxepiError(
                "the windows name no split: give --windows with a BED file whose fourth column is the split, or "
                "--splits train=0:1000 and so on"
            )
        if "" in names:
            raise JaxepiError(f"window {regions.shown(regions.split.index(''))} names no split: fill the fourth column")
        own = np.array(regions.split)
        return {name: np.flatnonzero(own == name) for name in names}
    made: dict[str, np.ndarray] = {}
    taken = np.zeros(regions.count, bool)
    for word in args.splits:
        name, _, span = word.partition("=")
        low, colon, high = span.partition(":")
        if not name or not colon or not (low.isdecimal() and high.isdecimal()) or not int(low) < int(high):
            raise JaxepiError(f"--splits {word}: NAME=LOW:HIGH with rows from 0 was expected, such as train=0:34021")
        if int(high) > regions.count:
            raise JaxepiError(f"--splits {word}: there are only {regions.count} rows")
        rows = np.arange(int(low), int(high))
        if taken[rows].any():
            raise JaxepiError(f"--splits {word}: row {rows[taken[rows]][0]} is in another split already")
        taken[rows] = True
        made[name] = np.sort(np.concatenate([made.get(name, np.empty(0, np.int64)), rows]))
    return made


def _tracks(args: argparse.Namespace, labels: Labels, typed: Collection[str]) -> list[str]:
    count = labels.shape[2]
    if labels.manifest is not None:
        refuse_beside(typed, "a folder of labels, which names them", ["track_names"])
        return list(labels.manifest["tracks"])
    if args.track_names is None:
        paper = [track.name for track in paper_tracks()]
        if count == len(paper) and labels.is_original:
            return paper
        raise JaxepiError(f"{args.labels} has {count} tracks and names none of them: name them with --track-names")
    if len(args.track_names) != count:
        raise JaxepiError(f"--track-names has {len(args.track_names)} names, but {args.labels} has {count} tracks")
    twice = next((name for name in args.track_names if args.track_names.count(name) > 1), None)
    if twice is not None:
        raise JaxepiError(f"--track-names names {twice!r} twice: name each track once")
    return list(args.track_names)


def _input_files(args: argparse.Namespace) -> dict[str, Path]:
    """Of a folder its manifest, which holds the checksums of its other files."""
    given = {"embeddings": args.embeddings, "labels": args.labels}
    files = {role: Path(path) / "manifest.json" if Path(path).is_dir() else Path(path) for role, path in given.items()}
    if args.windows is not None:
        files["windows"] = Path(args.windows)
    return {role: path.absolute() for role, path in files.items()}


def _check_content(args: argparse.Namespace) -> None:
    """Raises JaxepiError if a file of a folder is not what was written."""
    from tqdm import tqdm

    from jaxepi.data.array_folder import check_file
    from jaxepi.data.manifest import read_manifest

    folders = [Path(path) for path in (args.embeddings, args.labels) if Path(path).is_dir()]
    files = [
        (folder / name, told)
        for folder in folders
        for name, told in read_manifest(folder / "manifest.json")["files"].items()
    ]
    for path, told in tqdm(files, desc="checksums", unit=" files", disable=args.no_progress, delay=2):
        check_file(path, told)


def _report(built: dataset.Built) -> None:
    manifest = built.manifest
    values = manifest["bins"] if manifest["resolution"] == "bin" else 1
    for split, counts in manifest["splits"].items():
        missing = np.array(counts["missing"]) / (values * counts["records"])
        print(
            f"{split}: {counts['records']} windows ({counts['left_out_missing']} left out) in {counts['shards']} "
            f"shard(s), {missing.mean():.1%} of the labels missing, {counts['records_missing_a_track']} windows with a "
            "track that has none"
        )
        bare = [name for name, share in zip(manifest["tracks"], missing, strict=True) if share > 0.5]
        if bare:
            named = f"{', '.join(bare[:5])}{' …' if bare[5:] else ''}"
            print(f"warning: more than half of the labels of {split} are missing for {named}", file=sys.stderr)
    total = sum(counts["records"] for counts in manifest["splits"].values())
    print(f"{total} windows in {manifest['seconds']} s: {built.path}")
