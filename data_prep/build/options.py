"""What every dataset command shares: its help, the options of output and running, checks of numbers, and reruns."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.build import dataset
from data_prep.build.dataset import Execution
from data_prep.build.quiet import NEEDED, require
from jaxepi.chroms import PREFIX_MODES
from jaxepi.errors import JaxepiError

EXTRA_MODES = ("error", "ignore")
SPACE_FACTOR = 2.2  # TFDS keeps a second copy while it writes


class Help(argparse.HelpFormatter):
    """Shows the defaults that say something, lists as they are typed."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        plain = default in (None, "", False, argparse.SUPPRESS)
        return str(action.help) if plain else f"{action.help} (default: {default})"


def add_chrom_prefix(group: Any, of: str = "all files") -> None:
    """Adds --chrom-prefix to an argparse group; `of` says whose names it changes."""
    group.add_argument(
        "--chrom-prefix",
        choices=PREFIX_MODES,
        default="as-is",
        help=f"bring the chromosome names of {of} to chrN (add) or N (strip)",
    )


def add_extra_chroms(group: Any, of: str) -> None:
    """Adds --extra-chroms; `of` says which file may have more chromosomes than the FASTA."""
    group.add_argument(
        "--extra-chroms",
        choices=EXTRA_MODES,
        default="error",
        help=f"what to do with chromosomes that {of} has and the FASTA lacks",
    )


def add_output_options(group: Any) -> None:
    """Adds --out and --overwrite."""
    group.add_argument("--out", required=True, metavar="DIR", help="folder of the dataset; made whole or not at all")
    group.add_argument("--overwrite", action="store_true", help="replace the dataset that lies at --out")


def add_running_options(group: Any) -> None:
    """Adds --processes, --beam-runner, --beam-options and --no-progress: nothing of this changes the records."""
    group.add_argument("--processes", type=int, default=0, metavar="N", help="worker processes; 0 = one per core")
    group.add_argument(
        "--beam-runner", metavar="RUNNER", help="run as an Apache Beam pipeline, for example DirectRunner"
    )
    group.add_argument(
        "--beam-options", nargs="+", default=[], metavar="KEY=VALUE", help="options of the Beam runner, without dashes"
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")


def check_running(args: argparse.Namespace) -> None:
    """Raises JaxepiError if what is needed to run is not installed, or --processes is no number of processes."""
    require(*NEEDED, *(["apache_beam"] if args.beam_runner else []))
    check_least(args, {"processes": 0})


def check_least(args: argparse.Namespace, least: Mapping[str, int]) -> None:
    """Raises JaxepiError for an option (by its attribute) that is below its least value; None passes."""
    for name, smallest in least.items():
        value = getattr(args, name)
        if value is not None and not value >= smallest:
            raise JaxepiError(f"--{name.replace('_', '-')} is {value}: a number of at least {smallest} was expected")


def execution_of(args: argparse.Namespace) -> Execution:
    """How to run, from the parsed options."""
    return Execution(args.processes, args.beam_runner, tuple(args.beam_options), args.overwrite, not args.no_progress)


def made_before(
    args: argparse.Namespace, system: str, arguments: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether --out holds this very dataset already; says so.

    Raises:
        JaxepiError: if it holds something else and --overwrite is not given.
    """
    if args.overwrite:
        return False
    there = dataset.existing(Path(args.out), system, arguments, inputs)
    if there is None:
        return False
    print(f"{there.path} is there already, made with the same arguments from the same files: nothing to do")
    return True
