"""`python -m data_prep <system> …`: the command line of the offline stage. One subcommand per kind of dataset."""

import importlib
import os
import sys
from collections.abc import Sequence

from jaxepi.console import MISTAKE, exit_status
from jaxepi.errors import JaxepiError, did_you_mean

COMMANDS = {
    "melody": ("data_prep.melody.command", "FASTA + methylation BigWigs to windows for Melody ST, MT and G"),
    "deepcpg": ("data_prep.deepcpg.command", "CpG profiles of single cells (+ FASTA) to CpG sites for DeepCpG"),
    "chromoformer": (
        "data_prep.chromoformer.command",
        "histone marks, contacts and expression to genes for Chromoformer",
    ),
    "melody-sample": ("data_prep.melody.sample", "a small synthetic genome with methylation tracks"),
    "deepcpg-sample": ("data_prep.deepcpg.sample", "a synthetic genome with methylation states of single cells"),
    "chromoformer-sample": ("data_prep.chromoformer.sample", "a synthetic genome whose contacts drive expression"),
}


def _usage() -> str:
    lines = [f"  {name:<20} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: python -m data_prep <command> [options]   (--help after a command lists its options)", *lines]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit status: 0 done, 2 wrong input (one sentence), 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else MISTAKE
    return exit_status(lambda: _command(argv), interrupted="error: interrupted, and nothing was left behind")


def _command(argv: Sequence[str]) -> int | None:
    if argv[0] not in COMMANDS:
        raise JaxepiError(
            f"data_prep has no command {argv[0]!r}{did_you_mean(argv[0], COMMANDS)}: use one of {', '.join(COMMANDS)}"
        )
    return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])


def program(argv: Sequence[str] | None = None) -> int:
    """`main` in a process of its own."""
    # Record writing needs no accelerator: TensorFlow must not take memory of a GPU that a training run is using.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return main(argv)


if __name__ == "__main__":
    sys.exit(program())
