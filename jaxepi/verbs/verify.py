"""The verb verify."""

import argparse
import os
from pathlib import Path
from typing import Any

from jaxepi.console import MISTAKE
from jaxepi.errors import JaxepiError
from jaxepi.verbs.options import start

ABOUT = "Checks every checksum of runs and datasets and says what is whole: `verify runs/x data/y`."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The folders are words without an option."""
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="a run, a cross-validation, a dataset, or results")


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> int:
    """Prints a line for each part of each folder, and a sentence.

    Returns: the exit status, 0 if everything is whole.
    """
    if not options.folders:
        raise JaxepiError("The folders to check are needed here, such as: verify runs/NAME data/NAME.")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # leaves an accelerator to the run that may be using it
    start(options, config)
    from jaxepi.runs.verify import verify

    states = []
    for folder in options.folders:
        for finding in verify(Path(folder).expanduser()):
            print(finding, flush=True)
            states.append(finding.state)
    whole, bad = states.count("whole"), states.count("damaged")
    left = f"; {states.count('left over')} left over" if "left over" in states else ""
    print(f"{bad} of {whole + bad} parts are damaged{left}." if bad else f"All {whole} parts are whole{left}.")
    return MISTAKE if bad else 0
