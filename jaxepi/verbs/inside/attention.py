"""The verb attention."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.verbs import options as shared

ABOUT = "Writes what a model attends to: all weights, figures, and of genes ranked contacts."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser, weights=True)
    shared.add_config(parser, "another dataset than the run's own; needed with --weights")
    group = shared.add_subset(parser, most="genes")
    group.add_argument(
        "--genes",
        type=shared.names,
        metavar="NAME,...",
        help="these genes, or windows by their keys (default: all of the split)",
    )
    shared.add_out(parser, "attention")
    parser.add_argument(
        "--figures",
        type=shared.whole_number,
        default=20,
        metavar="N",
        help="figures of the first so many genes (default: %(default)s), or of all --genes",
    )


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Writes attention."""
    out = shared.out_folder(options, workdir, "attention")
    source = options.weights if options.weights is not None else shared.run_folder(workdir)
    shared.start(options, config)
    numbers = _attend(source, options, config, out)
    told = " of ".join(f"{numbers[name]:,} {name}" for name in ("contacts", "genes", "windows") if name in numbers)
    print(f"{told} in {out}", file=sys.stderr)


def _attend(source: str | Path, options: argparse.Namespace, config: Any, out: Path) -> dict[str, Any]:
    """The numbers of a job that wrote `out`."""
    from jaxepi.data.subset import choose_records
    from jaxepi.registry import capability
    from jaxepi.runs.source import dataset_of, load_predictor

    predictor = load_predictor(source, config, options.checkpoint)
    attend = capability(predictor.system, "attention")
    dataset, batch_size = dataset_of(predictor, config)
    chosen = choose_records(dataset, options.split, options.genes, options.most_genes, "most-genes")
    figures = options.figures if options.genes is None else len(chosen)
    return attend(predictor, chosen, out, figures=figures, batch_size=batch_size)
