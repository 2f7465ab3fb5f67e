"""The verb embed."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError
from jaxepi.verbs import options as shared

ABOUT = "Writes what the trunk of a run or a released file makes of a dataset or of regions of a genome."

DTYPES = ("float16", "bfloat16", "float32")
FORMATS = ("npy", "hdf5")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser, weights=True)
    shared.add_network(parser)
    shared.add_config(parser, "batch size, and the dataset if it is not the run's own")
    shared.add_subset(parser)
    group = parser.add_argument_group("windows of a genome instead of a dataset")
    group.add_argument("--fasta", metavar="FILE", help="genome")
    group.add_argument("--regions", metavar="BED", help="a window each: itself or centred on it; fourth column: split")
    shared.add_out(parser, "embeddings")
    parser.add_argument(
        "--dtype",
        type=shared.one_of(*DTYPES),
        default="float16",
        metavar=shared.braces(*DTYPES),
        help="of the numbers in the files (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        type=shared.one_of(*FORMATS),
        default="npy",
        metavar=shared.braces(*FORMATS),
        help="shards, or one compressed file (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-windows", type=shared.whole_number, default=256, metavar="N", help="rows of a shard (default: 256)"
    )
    parser.add_argument(
        "--windows-per-batch",
        type=shared.whole_number,
        metavar="N",
        help="windows at a time (default: the config's eval_batch_size, else 8)",
    )


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Embeds."""
    out = shared.out_folder(options, workdir, "embeddings")
    source = options.weights if options.weights is not None else shared.run_folder(workdir)
    genome = options.fasta is not None or options.regions is not None
    if genome and options.split is not None:
        raise JaxepiError("--split chooses records of a dataset: leave it out beside --fasta and --regions.")
    shared.start(options, config)
    from jaxepi.analysis.embed import EmbedOptions, embed_dataset, embed_regions
    from jaxepi.runs.source import dataset_of, load_predictor

    predictor = load_predictor(source, config, options.checkpoint, head=options.head, params=options.params)
    if genome:
        fasta = shared.required(options.fasta, "fasta", "genome.fa")
        regions = shared.required(options.regions, "regions", "windows.bed")
        size = config.eval_batch_size if config is not None else 8
    else:
        dataset, size = dataset_of(predictor, config)
    size = size if options.windows_per_batch is None else options.windows_per_batch
    how = EmbedOptions(options.dtype, options.format, options.shard_windows, size)
    if genome:
        told = embed_regions(predictor, fasta, regions, out, how)
    else:
        told = embed_dataset(predictor, dataset, out, options.split, how)
    shape = f"{told['bins']:,} x {told['channels']:,} {told['dtype']}"
    print(f"{told['count']:,} embeddings of {shape} in {out}", file=sys.stderr)
