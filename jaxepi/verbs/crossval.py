"""The verb crossval."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.console import INTERRUPTED
from jaxepi.verbs.config_file import example
from jaxepi.verbs.options import add_config, add_hosts, add_run, names, required, run_folder, start

ABOUT = "Trains and evaluates each fold of a dataset in a run of its own and sums up over all of them."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_config(parser, "the experiment; config.dataset.folds names the folds")
    add_run(parser, checkpoint=False)
    parser.add_argument("--folds", type=names, metavar="NAME,...", help="train only these folds (default: all)")
    add_hosts(parser)


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> int | None:
    """Cross-validates.

    Returns: the exit status of an interrupted run, else None.
    """
    if config is None:
        required(None, "config", example())
    start(options, config)
    from jaxepi.runs.crossval import cross_validate

    if cross_validate(config, run_folder(workdir), options.folds) == "interrupted":
        print("run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    return None
