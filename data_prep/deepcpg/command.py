"""`python -m data_prep deepcpg`: CpG profiles of single cells, and a genome, to a dataset of CpG sites."""

import argparse
import sys
from collections.abc import Collection, Sequence
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
from data_prep.deepcpg import splits as cpg_splits
from data_prep.deepcpg.options import parser
from data_prep.deepcpg.profiles import Reading, cell_name, check_at_cpg, read_positions
from data_prep.deepcpg.recipe import LARGEST_DISTANCE, DeepCpGRecipe, Layout, SiteTable, Statistics, shores_of
from data_prep.deepcpg.sequences import Sequences, fasta_files, unpacked
from data_prep.deepcpg.store import CellStore, read_cells
from data_prep.sources.genome import ambiguity_note
from data_prep.sources.preflight import check_naming
from jaxepi.errors import JaxepiError, did_you_mean

_MANY_NOT_CPG = 0.05  # share of sites that are at no CG in the FASTA, above which the user should look


def main(argv: Sequence[str], program: str = PROGRAM) -> int:
    """Runs the command line; prints the counts and the place of the dataset."""
    args, typed = parse_options(parser(program), argv)
    _check(args)
    _check_used(args, typed)
    check_running(args)
    out = Path(args.out)
    files = input_files(args)
    inputs = dataset.describe_inputs(files)
    arguments = _arguments(args)
    profiles = out.with_name(f"{out.name}.profiles")  # beside the dataset, where workers on other machines see it
    if made_before(args, DeepCpGRecipe.name, arguments, inputs):
        remove_stale(profiles)
        return 0
    execution = execution_of(args)
    with BuildFolder(profiles) as place:
        try:
            recipe = make_recipe(args, files, place.folder)
        except OSError as error:
            raise JaxepiError(
                f"writing beside {out} failed ({error.strerror or error}): check the free space and the permissions, "
                "or choose another --out"
            ) from error
        count = sum(map(len, recipe.splits.values()))
        dataset.require_space(out, int(SPACE_FACTOR * count * recipe.bytes_per_record()))
        built = dataset.build(recipe, out, arguments, inputs, execution)
    _report(built)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Numbers and options that do not fit together."""
    if not args.profiles and not args.positions:
        raise JaxepiError("no cells: give files with --profiles, or sites without cells with --positions and --fasta")
    if args.fasta is None and (args.cpg_wlen == 0 or not args.profiles):
        raise JaxepiError("records would be empty: give --fasta for sequences, or --cpg-wlen for neighbours, or both")
    if args.fasta is not None and (args.dna_wlen < 1 or args.dna_wlen % 2 == 0):
        raise JaxepiError(f"--dna-wlen is {args.dna_wlen}: an odd number of bp was expected, the site in the middle")
    if args.cpg_wlen < 0 or args.cpg_wlen % 2:
        raise JaxepiError(
            f"--cpg-wlen is {args.cpg_wlen}: an even number of neighbours was expected, half on each side"
        )
    if not 1 <= args.max_distance <= LARGEST_DISTANCE:
        raise JaxepiError(f"--max-distance is {args.max_distance}: 1 to {LARGEST_DISTANCE} bp were expected")
    if args.win_stats and args.window_sites == "neighbours" and not args.cpg_wlen:
        raise JaxepiError("--window-sites neighbours needs neighbours: give --cpg-wlen, or use --window-sites all")
    if (args.annotation_extend or args.annotation_shores) and not args.annotations:
        raise JaxepiError("--annotation-extend and --annotation-shores need regions: give files with --annotations")
    least = {"annotation_extend": 0, "annotation_shores": 0}
    least |= {"cpg_cov": 0, "cpg_stats_cov": 1, "min_reads": 1, "sites_per_chrom": 1, "seed": 0}
    check_least(args, least)
    if args.win_stats and min(args.win_stats_wlen) < 1:
        raise JaxepiError(f"--win-stats-wlen is {min(args.win_stats_wlen)}: positive numbers of bp were expected")
    if args.cpg_cov == 0 and not args.positions:
        raise JaxepiError("--cpg-cov 0 keeps sites that no cell was observed at: name them with --positions")
    if args.cpg_cov > len(args.profiles):
        raise JaxepiError(f"--cpg-cov is {args.cpg_cov}, but there are only {len(args.profiles)} profiles")


def _check_used(args: argparse.Namespace, typed: Collection[str]) -> None:
    """Refuses options that would do nothing."""
    fasta, cells = args.fasta is not None, bool(args.profiles)
    reading = ["format", "values", "strands", "min_reads", "bedgraph_base", "unobserved_cells"]
    refuse_unused(
        typed,
        [
            (fasta, "--fasta", ["fasta_pieces", "dna_wlen", "n_bases", "extra_chroms"]),
            (cells, "--profiles", [*reading, "cpg_cov", "cpg_wlen", "cpg_stats", "win_stats"]),
            (args.cpg_wlen > 0, "--cpg-wlen", ["max_distance"]),
            (bool(args.cpg_stats), "--cpg-stats", ["cpg_stats_cov"]),
            (bool(args.win_stats), "--win-stats", ["win_stats_wlen", "window_sites", "window_centre"]),
            ("diff" in [*args.cpg_stats, *args.win_stats], "the statistic diff", ["diff_maximum"]),
            (bool(args.annotations), "--annotations", ["annotation_edges"]),
            (
                args.sites_per_chrom is not None or args.n_bases == "random",
                "--sites-per-chrom or --n-bases random",
                ["seed"],
            ),
        ],
    )
    if args.regions:
        refuse_beside(typed, "--regions", [f"{split}_chroms" for split in cpg_splits.PAPER_SPLITS])


def input_files(args: argparse.Namespace) -> dict[str, Path]:
    """Role -> file of everything that is read.

    Raises:
        JaxepiError: a file that is not there, or two of one name.
    """
    files: dict[str, Path] = {}
    named = [("cell", path) for path in args.profiles] + [("annotation", path) for path in args.annotations]
    named += [(role, getattr(args, role)) for role in ("positions", "regions") if getattr(args, role)]
    for kind, given in named:
        path = Path(given).absolute()
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise JaxepiError(f"{given} {what}: a file was expected ({kind})")
        role = f"{kind} {cell_name(path)}" if kind in ("cell", "annotation") else kind
        if role in files:
            raise JaxepiError(
                f"{files[role]} and {path} are both called {cell_name(path)!r}: a {kind} is called as its file up to "
                "the first dot, so rename one of them"
            )
        files[role] = path
    for path in args.annotations if args.annotation_shores else ():
        twin = files.get(f"annotation {shores_of(cell_name(Path(path)))}")
        if twin is not None:
            raise JaxepiError(f"{twin} is called as the shores of {path}, which --annotation-shores adds: rename one")
    if args.fasta is not None:
        found = fasta_files(Path(args.fasta))
        files |= {"fasta": found[0]} if len(found) == 1 else {f"fasta {path.name}": path for path in found}
    return files


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the content, in one form however it was typed; files are told apart by their digests instead."""
    named = {f"{s}_chroms": getattr(args, f"{s}_chroms") or cpg_splits.PAPER_SPLITS[s] for s in cpg_splits.PAPER_SPLITS}
    plain = ("chrom_prefix extra_chroms fasta_pieces format unsorted values strands min_reads bedgraph_base cpg_cov "
             "sites_per_chrom unobserved_cells cpg_wlen max_distance n_bases seed annotation_edges cpg_stats "
             "cpg_stats_cov win_stats diff_maximum window_sites window_centre")  # fmt: skip
    return {
        "cells": sorted(cell_name(Path(path)) for path in args.profiles),
        "annotations": sorted(cell_name(Path(path)) for path in args.annotations),
        "dna_wlen": args.dna_wlen if args.fasta is not None else 0,
        "annotation_extend": args.annotation_extend or None,
        "annotation_shores": args.annotation_shores or None,
        "win_stats_wlen": args.win_stats_wlen if args.win_stats else None,
        "chroms": sorted(args.chroms) if args.chroms else None,
        **{name: None if args.regions else sorted(own) for name, own in named.items()},
        **{name: getattr(args, name) for name in plain.split()},
    }


def make_recipe(args: argparse.Namespace, files: dict[str, Path], folder: Path) -> DeepCpGRecipe:
    """Reads and checks everything; what has to be kept goes into `folder`."""
    sequences = None
    if args.fasta is not None:
        genome = unpacked([path for role, path in files.items() if role.startswith("fasta")], folder)
        sequences = Sequences(genome, args.chrom_prefix, args.fasta_pieces)
    reading = Reading(
        form=args.format,
        prefix=args.chrom_prefix,
        bedgraph_base=args.bedgraph_base,
        unsorted=args.unsorted,
        values=args.values,
        strands=args.strands,
        min_reads=args.min_reads,
        chroms=frozenset(args.chroms) if args.chroms else None,
        extra_chroms=args.extra_chroms,
    )
    processes = args.processes or available_processes()
    profiles = [path for role, path in files.items() if role.startswith("cell ")]
    store = read_cells(folder, profiles, reading, sequences, processes, not args.no_progress)
    for first, second in zip(store.cells[:-1], store.cells[1:], strict=True):
        check_naming(second.path, second.rows, first.path, first.rows)
    lengths = None if sequences is None else sequences.lengths
    given = read_positions(files["positions"], reading, lengths) if args.positions else None
    if given is not None and sequences is not None:
        check_at_cpg(files["positions"], given, sequences.codes)
    if given is not None and profiles:
        check_naming(files["positions"], given, "a profile", store.chromosomes())
    sites = cpg_splits.choose_sites(store, given, args.cpg_cov if profiles else 0, args.sites_per_chrom, args.seed)
    for chrom in args.chroms or ():
        if chrom not in sites:
            raise JaxepiError(f"--chroms names {chrom}{did_you_mean(chrom, sites)}, where no cell has a site")
    splits = _splits(args, files, sites, store, lengths)
    layout = Layout(
        window=args.dna_wlen if sequences is not None else 0,
        neighbours=args.cpg_wlen if profiles else 0,
        max_distance=args.max_distance,
        statistics=Statistics(
            site=tuple(args.cpg_stats),
            site_least=args.cpg_stats_cov,
            window=tuple(args.win_stats),
            windows=tuple(args.win_stats_wlen),
            maximum=args.diff_maximum,
            window_sites=args.window_sites,
            window_centre=args.window_centre,
        ),
        annotation_edges=args.annotation_edges,
        annotation_shores=args.annotation_shores,
        random_n=args.n_bases == "random",
        seed=args.seed,
    )
    marked = [
        (role.removeprefix("annotation "), path) for role, path in files.items() if role.startswith("annotation ")
    ]
    annotations = {
        name: cpg_splits.read_annotation(path, args.chrom_prefix, sites, args.annotation_extend)
        for name, path in sorted(marked)
    }
    return DeepCpGRecipe(store, sequences, splits, layout, annotations)


def _splits(
    args: argparse.Namespace,
    files: dict[str, Path],
    sites: dict[str, np.ndarray],
    store: CellStore,
    lengths: dict[str, int] | None,
) -> dict[str, SiteTable]:
    if args.regions:
        splits = cpg_splits.split_by_regions(files["regions"], sites, args.chrom_prefix, lengths)
    else:
        named = {split: getattr(args, f"{split}_chroms") for split in cpg_splits.PAPER_SPLITS}
        splits = cpg_splits.split_by_chromosome(sites, named)
        for split in [split for split, own in named.items() if own is None and split not in splits]:
            print(f"warning: there is no {split} split: no cell has a site on its chromosomes", file=sys.stderr)
    if args.unobserved_cells == "error":
        cpg_splits.check_cells(store, splits)
    return splits


def _report(built: dataset.Built) -> None:
    manifest = built.manifest
    cells = len(manifest["cells"])
    for split, counts in manifest["splits"].items():
        records = counts["records"]
        line = f"{split}: {records} sites in {counts['shards']} shard(s)"
        if cells:
            line += f", of which the mean cell was observed at {np.sum(counts['observed']) / (cells * records):.1%}"
        if manifest["window"]:
            line += f"; {counts['n_bases'] / (records * manifest['window']):.1%} N{ambiguity_note(counts)}"
        print(line)
        if counts["not_cpg"] > _MANY_NOT_CPG * records:
            print(
                f"warning: in {split}, {counts['not_cpg'] / records:.1%} of the sites are at no CG of the FASTA: check "
                "genome build, strand and whether positions count from 0 or 1 (--format, --bedgraph-base, --strands)",
                file=sys.stderr,
            )
    if not manifest["window"]:
        print("without --fasta nothing checked that sites are CpGs: positions are taken as the files give them")
    total = sum(counts["records"] for counts in manifest["splits"].values())
    print(f"{total} sites of {cells} cells in {manifest['seconds']} s: {built.path}")
