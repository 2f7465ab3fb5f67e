"""The verb motifs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.verbs import options as shared

ABOUT = "Writes what the first filters of a model of single sites look for: motifs and logos."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser)
    shared.add_config(parser, "another dataset than the run's own")
    shared.add_subset(parser, most="sites")
    shared.add_out(parser, "motifs")
    parser.add_argument(
        "--trim-bits", type=shared.number, metavar="BITS", help="leave out end columns that tell less (default: none)"
    )


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Finds motifs."""
    workdir, out = shared.run_folder(workdir), shared.out_folder(options, workdir, "motifs")
    shared.start(options, config)
    found = _motifs(options, config, workdir, out)
    print(f"{len(found['filters']):,} filters have a motif: {out / 'meme.txt'}", file=sys.stderr)


def _motifs(options: argparse.Namespace, config: Any, workdir: Path, out: Path) -> dict[str, Any]:
    """The numbers of a job that wrote `out`."""
    from jaxepi.runs.motifs import motifs_run
    from jaxepi.runs.site_run import open_run

    return motifs_run(
        open_run(workdir, config, options.checkpoint),
        out,
        split=options.split,
        most_sites=options.most_sites,
        trim_bits=options.trim_bits,
    )
