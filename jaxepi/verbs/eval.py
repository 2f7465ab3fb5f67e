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
    add_hosts(parser)


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Evaluates and reports."""
    workdir = run_folder(workdir)
    start(options, config)
    from jaxepi.runs.evaluation import evaluate_run

    evaluate_run(workdir, config, options.split, options.checkpoint, report=True)
