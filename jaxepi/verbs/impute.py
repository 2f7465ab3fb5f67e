"""The verb impute."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.verbs import options as shared

ABOUT = "Writes every site and cell of a dataset, observed or predicted."

FORMATS = ("tsv", "bedgraph", "hdf5")
VALUES = ("imputed", "predicted")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser)
    shared.add_config(parser, "another dataset than the run's own")
    group = shared.add_subset(parser)
    group.add_argument(
        "--tracks", type=shared.names, metavar="NAME,...", help="outputs to write (default: all that have one value)"
    )
    shared.add_out(parser, "impute")
    parser.add_argument(
        "--formats",
        type=shared.some_of(*FORMATS),
        default=list(FORMATS),
        metavar=",".join(FORMATS),
        help="files to write (default: all)",
    )
    parser.add_argument(
        "--values",
        type=shared.one_of(*VALUES),
        default="imputed",
        metavar=shared.braces(*VALUES),
        help="keep observed values, or predict everywhere (default: %(default)s)",
    )


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Imputes."""
    workdir, out = shared.run_folder(workdir), shared.out_folder(options, workdir, "impute")
    shared.start(options, config)
    numbers = _impute(options, config, workdir, out)
    print(f"{numbers['sites']:,} sites of {len(numbers['arguments']['outputs']):,} outputs in {out}", file=sys.stderr)


def _impute(options: argparse.Namespace, config: Any, workdir: Path, out: Path) -> dict[str, Any]:
    """The numbers of a job that wrote `out`."""
    from jaxepi.runs.impute import impute_run
    from jaxepi.runs.site_run import open_run

    return impute_run(
        open_run(workdir, config, options.checkpoint),
        out,
        split=options.split,
        outputs=options.tracks,
        formats=options.formats,
        values=options.values,
    )
