"""Options that every dataset command shares: how a build runs. Nothing of this changes the records."""

import argparse
from typing import Any

from data_prep.build.dataset import Execution


def add_running_options(group: Any) -> None:
    """Adds --processes, --beam-runner, --beam-options and --no-progress to an argparse group."""
    group.add_argument("--processes", type=int, default=0, metavar="N", help="worker processes; 0 = one per core")
    group.add_argument(
        "--beam-runner", metavar="RUNNER", help="run as an Apache Beam pipeline, for example DirectRunner"
    )
    group.add_argument(
        "--beam-options", nargs="+", default=[], metavar="KEY=VALUE", help="options of the Beam runner, without dashes"
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def execution_of(args: argparse.Namespace) -> Execution:
    """How to run, from the parsed options; `--overwrite` is the command's own."""
    return Execution(args.processes, args.beam_runner, tuple(args.beam_options), args.overwrite, not args.no_progress)
