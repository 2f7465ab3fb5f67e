"""The verb mutagenesis, also called effects."""

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxepi.verbs import options as shared

ABOUT = "Writes what every base change does to the predictions of a model of single sites."

EFFECTS = ("gradient", "exact")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser)
    shared.add_config(parser, "another dataset than the run's own")
    shared.add_subset(parser, most="sites")
    shared.add_out(parser, "effects")
    parser.add_argument(
        "--effects",
        type=shared.one_of(*EFFECTS),
        default="gradient",
        metavar=shared.braces(*EFFECTS),
        help="by the gradient, or by predicting every change (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        default="mean",
        metavar="NAME",
        help="mean or var over all outputs, or the name of an output (default: %(default)s)",
    )
    parser.add_argument(
        "--width", type=shared.whole_number, metavar="BP", help="bp in the middle of the window (default: all of it)"
    )


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Computes effects."""
    workdir, out = shared.run_folder(workdir), shared.out_folder(options, workdir, "effects")
    shared.start(options, config)
    sites = _effects(options, config, workdir, out)
    print(f"effects at {sites:,} sites: {out / 'effects.h5'}", file=sys.stderr)


def _effects(options: argparse.Namespace, config: Any, workdir: Path, out: Path) -> int:
    """The number of sites whose effects were written to `out`."""
    from jaxepi.runs.mutagenesis import effects_run
    from jaxepi.runs.site_run import open_run

    return effects_run(
        open_run(workdir, config, options.checkpoint),
        out,
        method=options.effects,
        target=options.target,
        width=options.width,
        split=options.split,
        most_sites=options.most_sites,
    )
