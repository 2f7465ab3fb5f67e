"""The verb predict."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError
from jaxepi.verbs import options as shared

ABOUT = "Predicts regions of a genome, sequences, or the records of a dataset, with a run or a released file."

OVERLAPS = ("once", "repeat")
AT_CPGS = ("cpg", "site")  # where the values of a prediction lie that are written as calls


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser, weights=True)
    shared.add_config(parser, "batch size, and the dataset of a model that reads records")
    group = parser.add_argument_group("a model that reads sequence")
    group.add_argument("--fasta", metavar="FILE", help="genome (with --regions), or sequences to predict one by one")
    group.add_argument("--regions", metavar="BED", help="regions of the genome (default: every record of --fasta)")
    group.add_argument(
        "--tracks", type=shared.names, metavar="NAME,...", help="names, or parts of them, to write (default: all)"
    )
    group.add_argument(
        "--overlap",
        type=shared.one_of(*OVERLAPS),
        metavar=shared.braces(*OVERLAPS),
        help="how often a CpG is reported that two tiles of a region share (default: once)",
    )
    group = parser.add_argument_group("a model that reads records of a dataset")
    group.add_argument("--split", metavar="NAME", help="a split of the dataset (default: all)")
    shared.add_out(parser, "predictions")


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Predicts."""
    out = shared.out_folder(options, workdir, "predictions")
    source = options.weights if options.weights is not None else shared.run_folder(workdir)
    shared.start(options, config)
    from jaxepi.runs.source import load_predictor

    predictor = load_predictor(source, config, options.checkpoint)
    if predictor.grid.at == "record":
        _predict_records(predictor, options, config, out)
    elif predictor.grid.at in AT_CPGS and predictor.task.sequence_alone:
        _predict_sequence(predictor, options, config, out)
    else:
        raise JaxepiError(
            f"{source} does not predict CpGs from sequence alone, so there are no calls to write; impute serves runs "
            "of single sites that read their neighbours."
        )


def _predict_sequence(predictor: Any, options: argparse.Namespace, config: Any, out: Path) -> None:
    """Regions of a genome, or sequences."""
    from jaxepi.analysis.predict import predict_files

    if options.split is not None:
        raise JaxepiError(f"{predictor.source} predicts sequences of --fasta: leave out --split, choose by --regions.")
    numbers = predict_files(
        predictor,
        fasta=shared.required(options.fasta, "fasta", "genome.fa"),
        out_dir=out,
        regions=options.regions,
        tracks=options.tracks,
        batch_size=config.eval_batch_size if config is not None else 32,
        overlap=options.overlap or "once",
    )
    print(f"{numbers['calls']:,} calls in {numbers['windows']:,} windows written to {out}", file=sys.stderr)


def _predict_records(predictor: Any, options: argparse.Namespace, config: Any, out: Path) -> None:
    """Records of a dataset."""
    from jaxepi.data.subset import choose_records
    from jaxepi.registry import capability
    from jaxepi.runs.source import dataset_of

    for name in ("fasta", "regions", "tracks", "overlap"):
        if getattr(options, name) is not None:
            raise JaxepiError(
                f"{predictor.source} predicts the genes of a dataset: leave out --{name}, choose by --split."
            )
    dataset, batch_size = dataset_of(predictor, config)
    write = capability(predictor.system, "predict_records")
    numbers = write(predictor, choose_records(dataset, options.split), out, batch_size=batch_size)
    print(f"{numbers['genes']:,} genes in {out / 'genes.tsv'}", file=sys.stderr)
