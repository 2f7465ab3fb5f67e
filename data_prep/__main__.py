"""`python -m data_prep <system> …`: the command line of the offline stage. One subcommand per kind of dataset."""

import importlib
import os
import sys
from collections.abc import Sequence

from data_prep.build.options import PROGRAM
from jaxepi.console import DEBUG, MISTAKE, exit_status
from jaxepi.errors import JaxepiError, did_you_mean

COMMANDS = {
    "melody": ("data_prep.melody.command", "FASTA + methylation BigWigs to windows for Melody ST, MT and G"),
    "deepcpg": ("data_prep.deepcpg.command", "CpG profiles of single cells (+ FASTA) to CpG sites for DeepCpG"),
    "chromoformer": (
        "data_prep.chromoformer.command",
        "histone marks, contacts and expression to genes for Chromoformer",
    ),
    "coverage": ("data_prep.coverage.command", "FASTA + coverage tracks to binned windows for Basenji and its kin"),
    "epiformer": ("data_prep.epiformer.command", "the same with windows as Epiformer's, or from its chunk files"),
    "coverage-align": ("data_prep.coverage.alignment", "a split of two genomes that keeps aligned regions together"),
    "coverage-export": ("data_prep.coverage.export", "a dataset of coverage as the original Basenji's own folder"),
    "labels": ("data_prep.labels.command", "BigWigs to labels of windows per bin, also of another assembly"),
    "embeddings": ("data_prep.embeddings.command", "embeddings of `launch.py embed` + labels to records for heads"),
    "melody-sample": ("data_prep.melody.sample", "a small synthetic genome with methylation tracks"),
    "deepcpg-sample": ("data_prep.deepcpg.sample", "a synthetic genome with methylation states of single cells"),
    "coverage-sample": ("data_prep.coverage.sample", "a small synthetic genome with coverage tracks of several kinds"),
    "chromoformer-sample": ("data_prep.chromoformer.sample", "a synthetic genome whose contacts drive expression"),
    "embeddings-sample": ("data_prep.embeddings.sample", "made-up embeddings with labels that follow from them"),
}


def _usage(called: str) -> str:
    lines = [f"  {name:<20} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {called} <command> [options]   (--help after a command lists its options; {DEBUG} shows the "
            "traceback of an error)",
            *lines,
        ]
    )


def main(argv: Sequence[str] | None = None, called: str = PROGRAM) -> int:
    """Runs one subcommand; `called` is how help names the program.

    Returns: the exit status: 0 done, 1 a mistake of the program, 2 wrong input (one sentence), 130 interrupted.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    argv, debug = [word for word in given if word != DEBUG], DEBUG in given
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(called))
        return 0 if argv else MISTAKE
    return exit_status(
        lambda: _command(argv, called),
        interrupted="error: interrupted, and nothing was left behind",
        doing=f"{called} {argv[0]}",
        debug=debug,
    )


def _command(argv: Sequence[str], called: str) -> int | None:
    if argv[0] not in COMMANDS:
        raise JaxepiError(
            f"data_prep has no command {argv[0]!r}{did_you_mean(argv[0], COMMANDS)}: use one of {', '.join(COMMANDS)}"
        )
    return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:], called)


def program(argv: Sequence[str] | None = None, called: str = PROGRAM) -> int:
    """`main` in a process of its own."""
    # Record writing needs no accelerator: TensorFlow must not take memory of a GPU that a training run is using.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return main(argv, called)


if __name__ == "__main__":
    sys.exit(program())
