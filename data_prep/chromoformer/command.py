"""`python -m data_prep chromoformer`: genes with histone marks and contacts to a dataset for Chromoformer.

Two choices are independent: where genes come from (the original's metadata table, or annotation, expression and
contacts) and where read depth comes from (the original's region files, or BAM and BigWig files).
"""

import argparse
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from data_prep.build import dataset
from data_prep.build.options import (
    PROGRAM,
    SPACE_FACTOR,
    Help,
    add_chrom_prefix,
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
from data_prep.chromoformer import genes as chromoformer_genes
from data_prep.chromoformer.depth_files import DepthFiles
from data_prep.chromoformer.gene_table import Gene, check_folds, check_inside, write_metadata
from data_prep.chromoformer.recipe import MARKS, SUM_DTYPES, ChromoformerRecipe, DepthSource, SumsDoNotFit
from data_prep.chromoformer.region_arrays import FILE_FLANK, RegionArrays
from data_prep.sources.depth import READ_MODES
from data_prep.sources.text_tables import read_sizes
from data_prep.sources.tracks import TrackFile, resolve_tracks
from jaxepi.errors import JaxepiError


def parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=f"{program} chromoformer",
        description="Makes a TFRecord dataset (TFDS layout) of genes with the histone marks at promoter and contacts.",
        formatter_class=Help,
    )
    chromoformer_genes.add_arguments(p)
    _add_depth(
        p.add_argument_group("read depth: region files (--npy-dir), or one file a mark (--depth, --depth-table)")
    )
    _add_records(p.add_argument_group("records"))
    add_running_options(p.add_argument_group("running"))
    return p


def _add_depth(g: Any) -> None:
    g.add_argument(
        "--npy-dir", metavar="PATH", help="folder of the original's chrom:start-end.npy, or an .npz of such arrays"
    )
    g.add_argument(
        "--marks", nargs="+", metavar="NAME", help=f"rows of the --npy-dir arrays (default: {' '.join(MARKS)})"
    )
    g.add_argument("--depth", nargs="+", default=[], metavar="MARK=FILE", help="sorted, indexed BAM, or BigWig")
    g.add_argument("--depth-table", metavar="CSV", help="table with the columns name,file, a row a mark")
    g.add_argument(
        "--bam-reads",
        choices=READ_MODES,
        default="primary",
        help="all: every mapped alignment, as the original; primary: no secondary, supplementary, duplicate or failed "
        "ones",
    )
    g.add_argument("--max-depth", type=float, metavar="N", help="depth above this counts as this (default: no cap)")
    g.add_argument(
        "--chrom-sizes", metavar="FILE", help="with --npy-dir: chromosome and length a line, to check start sites with"
    )
    add_chrom_prefix(g, "annotation, contacts and depth files")


def _add_records(g: Any) -> None:
    add_output_options(g)
    g.add_argument(
        "--promoter-length",
        type=int,
        default=40_000,
        metavar="BP",
        help="stored around the start site; training may use less",
    )
    g.add_argument(
        "--resolution",
        type=int,
        default=100,
        metavar="BP",
        help="bin of the stored sums; must divide every bin size that will be used",
    )
    g.add_argument(
        "--sum-dtype",
        choices=SUM_DTYPES,
        default="auto",
        help="auto: uint16 where all sums are whole and fit, else float32",
    )
    g.add_argument("--metadata-out", metavar="CSV", help="also write the table of genes in the original's format")


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    _check_numbers(args)
    _check_used(args, typed)
    check_running(args)
    source = _depth_source(args)
    made = chromoformer_genes.read_genes(args, source.lengths)
    _check_genes(source, made.genes, made.table)
    inputs = dataset.describe_inputs(made.files | _depth_files(args, source))
    if isinstance(source, RegionArrays):
        inputs.append(source.describe(made.genes))
    arguments = made.arguments | _arguments(args, source)
    if args.metadata_out:
        _check_apart(Path(args.metadata_out), Path(args.out), inputs)
        write_metadata(Path(args.metadata_out), made.genes, made.eid)
    if made_before(args, ChromoformerRecipe.name, arguments, inputs):
        return 0
    _report(_build(args, source, made.genes, arguments, inputs))
    return 0


def _check_numbers(args: argparse.Namespace) -> None:
    check_least(args, {"promoter_length": 1, "resolution": 1, "max_pcre_length": 1, "max_neighbors": 0})
    if args.promoter_length % (2 * args.resolution):
        raise JaxepiError(
            f"--promoter-length is {args.promoter_length} and --resolution {args.resolution}: half of the first must "
            "be a multiple of the second"
        )
    if not math.isfinite(args.min_score):
        raise JaxepiError(f"--min-score is {args.min_score}: a number was expected")
    if args.max_depth is not None and not args.max_depth > 0:
        raise JaxepiError(f"--max-depth is {args.max_depth}: a positive number was expected")
    if args.beam_runner and args.sum_dtype == "auto":
        raise JaxepiError("--sum-dtype auto looks at results before it decides: choose float32 or uint16 with Beam")


def _check_used(args: argparse.Namespace, typed: Collection[str]) -> None:
    """Refuses options that would do nothing."""
    from_table = bool(args.metadata)
    contacts = args.contacts or args.hic
    refuse_unused(
        typed,
        [
            (bool(args.annotation), "--annotation", ["biotype"]),
            (bool(args.expression), "--expression", ["expression_column"]),
            (bool(args.contacts), "--contacts", ["contacts_direction", "score_column"]),
            (bool(args.hic), "--hic", ["hic_bin"]),
            (bool(contacts), "--contacts or --hic", ["min_score", "whole_scores"]),
            (bool(contacts or from_table), "--contacts, --hic or --metadata", ["max_neighbors", "max_pcre_length"]),
            (bool(args.depth or args.depth_table), "--depth or --depth-table", ["bam_reads", "max_depth"]),
        ],
    )
    if from_table:
        refuse_beside(typed, "--metadata", ["gene_versions"])


def _depth_source(args: argparse.Namespace) -> DepthFiles | RegionArrays:
    if bool(args.npy_dir) + bool(args.depth) + bool(args.depth_table) != 1:
        raise JaxepiError("read depth comes from one place: give --npy-dir, or --depth, or --depth-table")
    if args.npy_dir:
        if args.promoter_length > 2 * FILE_FLANK:
            raise JaxepiError(
                f"--promoter-length is {args.promoter_length}, but promoter files of the original hold "
                f"{2 * FILE_FLANK} bp: use at most that"
            )
        lengths = read_sizes(Path(args.chrom_sizes)) if args.chrom_sizes else None
        return RegionArrays(Path(args.npy_dir), args.marks or MARKS, lengths)
    if args.marks:
        raise JaxepiError("--marks names the rows of --npy-dir arrays: with --depth, write MARK=FILE")
    if args.chrom_sizes:
        raise JaxepiError("--chrom-sizes goes with --npy-dir: depth files state the lengths of chromosomes themselves")
    if args.depth_table:
        tracks = resolve_tracks(table=args.depth_table)
    else:
        tracks = tuple(_named_file(word) for word in args.depth)
    twice = next((track.name for i, track in enumerate(tracks) if track.name in [t.name for t in tracks[:i]]), None)
    if twice is not None:
        raise JaxepiError(f"--depth names the mark {twice!r} twice: one file a mark was expected")
    return DepthFiles(tracks, args.chrom_prefix, args.bam_reads, args.max_depth)


def _named_file(word: str) -> TrackFile:
    name, _, path = word.partition("=")
    if not name or not path:
        raise JaxepiError(f"--depth {word}: MARK=FILE was expected, such as H3K27ac=h3k27ac.bam")
    return TrackFile(name, Path(path).absolute())


def _check_apart(table: Path, out: Path, inputs: Sequence[dict[str, Any]]) -> None:
    """Raises JaxepiError if the table that is to be written would replace an input, or lie in the dataset."""
    place = table.resolve()
    if place in [Path(entry["path"]).resolve() for entry in inputs]:
        raise JaxepiError(f"--metadata-out {table} is an input of this command: choose another place")
    if out.resolve() in [place, *place.parents]:
        raise JaxepiError(f"--metadata-out {table} lies in --out {out}, which is made whole: choose another place")


def _check_genes(source: DepthFiles | RegionArrays, genes: Sequence[Gene], table: Path) -> None:
    check_folds(genes, table)
    if isinstance(source, DepthFiles):
        source.check(genes, table)
    if source.lengths:
        check_inside(genes, source.lengths, table, source.path)
    if isinstance(source, RegionArrays):
        source.check(genes, table)


def _depth_files(args: argparse.Namespace, source: DepthFiles | RegionArrays) -> dict[str, Path]:
    if isinstance(source, DepthFiles):
        return {f"depth {track.name}": track.path for track in source.tracks}
    return {"chrom_sizes": Path(args.chrom_sizes).absolute()} if args.chrom_sizes else {}


def _arguments(args: argparse.Namespace, source: DepthSource) -> dict[str, Any]:
    """What decides the content of the depths; files are told apart by their digests instead."""
    from_files = isinstance(source, DepthFiles)
    return {
        "marks": list(source.marks),
        "bam_reads": args.bam_reads if from_files else None,
        "max_depth": args.max_depth,
        "chrom_prefix": args.chrom_prefix,
        "promoter_length": args.promoter_length,
        "resolution": args.resolution,
        "sum_dtype": args.sum_dtype,
    }


def _build(
    args: argparse.Namespace,
    source: DepthSource,
    genes: Sequence[Gene],
    arguments: dict[str, Any],
    inputs: list[dict[str, Any]],
) -> dataset.Built:
    execution = execution_of(args)

    def attempt(dtype: str) -> dataset.Built:
        recipe = ChromoformerRecipe(source, genes, args.promoter_length, args.resolution, dtype)
        dataset.require_space(Path(args.out), int(SPACE_FACTOR * len(genes) * recipe.bytes_per_record()))
        return dataset.build(recipe, Path(args.out), arguments, inputs, execution)

    if args.sum_dtype != "auto":
        return attempt(args.sum_dtype)
    try:
        return attempt("uint16")
    except SumsDoNotFit:
        print("depth sums do not fit uint16: stored as float32", flush=True)
        return attempt("float32")


def _report(built: dataset.Built) -> None:
    for split, counts in built.manifest["splits"].items():
        labelled = counts["records"] - counts["unlabelled"]
        share = f"{counts['positive'] / labelled:.0%} above the median" if labelled else "none with a label"
        print(
            f"{split}: {counts['records']} genes on {', '.join(counts['chroms'])}, {share}, "
            f"{counts['pcres'] / counts['records']:.1f} contacts a gene, {counts['without_pcre']} without, "
            f"{counts['promoters_cut']} promoters beyond a chromosome end"
        )
    total = sum(counts["records"] for counts in built.manifest["splits"].values())
    print(f"{total} genes in {built.manifest['seconds']} s: {built.path}")
