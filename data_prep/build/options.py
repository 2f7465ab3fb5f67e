"""What every dataset command shares: its help, the options of output and running, checks of numbers, and reruns."""

import argparse
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.build import dataset
from data_prep.build.dataset import Execution
from data_prep.build.quiet import NEEDED, require
from data_prep.build.replace import check_replaceable
from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import PREFIX_MODES

PROGRAM = "python -m data_prep"  # how help calls the program, unless it was called through another
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


def parse_options(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[argparse.Namespace, frozenset[str]]:
    """The options with their defaults, and the attributes of those that were typed."""
    args = parser.parse_args(argv)
    untyped = object()
    # What the namespace has already keeps its value unless it is typed.
    marks = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(vars(args), untyped)))
    return args, frozenset(name for name, value in vars(marks).items() if value is not untyped)


def refuse_unused(typed: Collection[str], needs: Iterable[tuple[bool, str, Sequence[str]]]) -> None:
    """Refuses options that would do nothing, so that nobody believes they did.

    Args:
        typed: attributes of the options that were typed.
        needs: (whether it is there, what options need, attributes of the options that need it).

    Raises:
        JaxepiError: for the first typed option whose need is not there.
    """
    for there, what, names in needs:
        name = next((name for name in names if name in typed), None)
        if name is not None and not there:
            raise JaxepiError(f"--{name.replace('_', '-')} does nothing without {what}: leave it out, or add {what}")


def refuse_beside(typed: Collection[str], option: str, names: Iterable[str]) -> None:
    """Raises JaxepiError for the first of `names` (attributes) that was typed beside `option`, which makes it moot."""
    name = next((name for name in names if name in typed), None)
    if name is not None:
        raise JaxepiError(f"--{name.replace('_', '-')} does nothing beside {option}: leave one of them out")


def check_running(args: argparse.Namespace) -> None:
    """Whether what is needed to run is installed, and Beam has the runner.

    Raises:
        JaxepiError: if not, or if --processes is no number of processes.
    """
    require(*NEEDED, *(["apache_beam"] if args.beam_runner else []))
    check_least(args, {"processes": 0})
    if args.beam_runner:
        _check_runner(args.beam_runner)
    elif args.beam_options:
        raise JaxepiError("--beam-options are those of a --beam-runner, and none is given: leave them out, or name it")


def _check_runner(name: str) -> None:
    from apache_beam.runners.runner import create_runner

    try:
        create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split()).partition(". Valid values")[0]
        raise JaxepiError(
            f"--beam-runner {name} is no runner that Apache Beam has here ({reason}): use DirectRunner, FlinkRunner, "
            "PortableRunner or DataflowRunner"
        ) from error


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
        JaxepiError: if it holds something else and --overwrite is not given, or may not replace it.
    """
    if args.overwrite:
        check_replaceable(Path(args.out), inputs)
        return False
    there = dataset.existing(Path(args.out), system, arguments, inputs)
    if there is None:
        return False
    print(f"{there.path} is there already, made with the same arguments from the same files: nothing to do")
    return True
