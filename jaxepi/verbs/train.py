"""The verb train."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.console import INTERRUPTED
from jaxepi.verbs.config_file import example
from jaxepi.verbs.options import add_config, add_hosts, add_run, required, run_folder, start

ABOUT = "Trains a model, evaluates it on the validation and test splits and writes a report."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_config(parser, "the experiment")
    add_run(parser, checkpoint=False)
    add_hosts(parser)


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> int | None:
    """Trains, then evaluates config.report_checkpoint.

    Returns: the exit status of an interrupted run, else None.
    """
    if config is None:
        required(None, "config", example())
    start(options, config)
    from jaxepi.runs.evaluation import evaluate_run
    from jaxepi.train.loop import train

    workdir = run_folder(workdir)
    if train(config, workdir) == "interrupted":
        print("run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    evaluate_run(workdir, config, None, report=config.report)
    return None
