"""Options that several verbs share, in groups, and the kinds of values. Imports nothing heavy: every help needs it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxepi.errors import JaxepiError, did_you_mean


def whole_number(text: str) -> int:
    """A value of an option, such as 20."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text!r}, but a whole number was expected.") from None


def whole_numbers(text: str) -> list[int]:
    """A value of an option, such as -1,0,1."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        problem = f"is {text!r}, but whole numbers were expected, with commas between them."
        raise argparse.ArgumentTypeError(problem) from None


def number(text: str) -> float:
    """A value of an option, such as 0.1."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"is {text!r}, but a number was expected.") from None


def names(text: str) -> list[str]:
    """A value of an option, such as liver,lung."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"is {text!r}, but names were expected, with commas between them.")
    return found


def one_of(*choices: str) -> Callable[[str], str]:
    """The kind of value that is one of `choices`."""

    def choice(text: str) -> str:
        if text not in choices:
            near = did_you_mean(text, choices)
            raise argparse.ArgumentTypeError(f"is {text!r}{near}; it must be {' or '.join(choices)}.")
        return text

    return choice


def checkpoint_name(text: str) -> str:
    """The kind of value that names a checkpoint of a run: best and last, or best_<metric> of several monitored ones."""
    return text if text.startswith("best_") else one_of("best", "last")(text)


def some_of(*choices: str) -> Callable[[str], list[str]]:
    """The kind of value that is one or more of `choices`, with commas between them."""
    choice = one_of(*choices)
    return lambda text: [choice(part) for part in names(text)]


def braces(*choices: str) -> str:
    """How the help shows the choices of an option."""
    return "{" + ",".join(choices) + "}"


def add_config(parser: argparse.ArgumentParser, what: str) -> None:
    """--config, and in the help how its fields are set.

    Args:
      parser: of a verb.
      what: the config tells this verb.
    """
    fields = "its fields are set one by one, such as --config.optimizer.clip_norm=1; every field is in configs/base.py"
    group = parser.add_argument_group("config", fields)
    group.add_argument(
        "--config", metavar="NAME[:VARIANT]", help=f"{what}; a file, or a name that the verb configs lists"
    )


def add_run(parser: argparse.ArgumentParser, *, weights: bool = False, checkpoint: bool = True) -> None:
    """Where the trained model is: --workdir, and where the verb takes them, --weights and --checkpoint."""
    group = parser.add_argument_group("model")
    add_workdir(group)
    if weights:
        group.add_argument("--weights", metavar="FILE", help="a released file instead of a run")
    if checkpoint:
        group.add_argument(
            "--checkpoint",
            type=checkpoint_name,
            metavar=braces("best", "best_METRIC", "last"),
            help="which checkpoint of the run (default: as its config.report_checkpoint says)",
        )


def add_workdir(group: Any) -> None:
    """--workdir, to a parser or a group of one."""
    group.add_argument("--workdir", metavar="DIR", help="folder of the run (default: runs/<config>[_<variant>])")


def add_network(group: Any) -> None:
    """Which network of a run or file with several is meant, and what describes that of a file: --head, --params."""
    group.add_argument("--head", type=whole_number, metavar="N", help="of a model with several (default: 0)")
    group.add_argument("--params", metavar="FILE", help="params.json that describes the network of --weights")


def add_subset(parser: argparse.ArgumentParser, most: str | None = None) -> Any:
    """Which records: --split, and --most-<most> for a draw of them; returns the group."""
    group = parser.add_argument_group(f"which {most or 'records'}")
    group.add_argument("--split", metavar="NAME", help="a split of the dataset (default: all)")
    if most is not None:
        group.add_argument(
            f"--most-{most}", type=whole_number, metavar="N", help=f"a seeded draw of so many {most} (default: all)"
        )
    return group


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """--out, which is `name` in the folder of the run unless it is given."""
    parser.add_argument("--out", metavar="DIR", help=f"folder of the files (default: <workdir>/{name})")


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """How the processes of a run on several hosts find each other."""
    group = parser.add_argument_group("several hosts")
    group.add_argument(
        "--multihost", action="store_true", help="join the hosts of a cluster that jax knows (Slurm, GKE, TPU pods)"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, for a run that is set up by hand")
    group.add_argument("--processes", type=whole_number, metavar="N", help="number of processes, with --coordinator")
    group.add_argument(
        "--process", type=whole_number, metavar="I", help="number of this process from 0, with --coordinator"
    )


def required(value: Any, option: str, example: str) -> Any:
    """The value of an option that the verb cannot do without.

    Raises:
      JaxepiError: it was not given.
    """
    if value is None:
        raise JaxepiError(f"--{option} is needed here, such as --{option} {example}.")
    return value


def run_folder(workdir: Path | None) -> Path:
    """The folder of the run.

    Raises:
      JaxepiError: neither --workdir nor --config tells it.
    """
    return required(workdir, "workdir", "runs/NAME")


def out_folder(options: argparse.Namespace, workdir: Path | None, name: str) -> Path:
    """The folder for the files of a verb.

    Raises:
      JaxepiError: no option tells it.
    """
    if options.out is None and workdir is None:
        return required(None, "out", name)
    return Path(options.out) if options.out is not None else run_folder(workdir) / name


def start(options: argparse.Namespace, config: Any) -> None:
    """What every verb that computes does first: joins the hosts of the run, and turns on the cache of programs."""
    from absl import logging

    from jaxepi.parallel import hosts

    logging.set_verbosity(logging.ERROR)  # libraries tell their every step through absl
    if getattr(options, "multihost", False) or getattr(options, "coordinator", None):
        hosts.join_hosts(options.coordinator, options.processes, options.process)
    hosts.use_compilation_cache(config.compilation_cache if config is not None else None)
