"""The verb eval."""

import argparse
from pathlib import Path
from typing import Any

from jaxepi.verbs.options import add_config, add_hosts, add_run, run_folder, start

ABOUT = "Evaluates a checkpoint of a run on a split of a dataset and writes a report."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_run(parser)
    add_config(parser, "another dataset, batch size or readers than the run's own")
    parser.add_argument(
        "--split", metavar="NAME", help="a split of the dataset (default: the run's validation and test)"
    )
    parser.add_argument(
        "--save", action="store_true", help="also write preds.h5 and targets.h5 of every split (of bins)"
    )
    add_hosts(parser)


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Evaluates and reports."""
    workdir = run_folder(workdir)
    start(options, config)
    from jaxepi.runs.evaluation import evaluate_run

    evaluate_run(workdir, config, options.split, options.checkpoint, report=True, save=options.save)
