"""The verb prep."""

import argparse
from pathlib import Path
from typing import Any

ABOUT = "Prepares a dataset from raw files: `prep --help` lists the kinds of data (the same as python -m data_prep)."

PASSES_ON = True  # every word behind the verb goes to data_prep as it is


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options are data_prep's own; `words` holds them all."""
    parser.add_argument("words", nargs="*")


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> int:
    """The command line of data_prep.

    Returns: its exit status.
    """
    from data_prep.__main__ import program

    return program(options.words, options.prog)
