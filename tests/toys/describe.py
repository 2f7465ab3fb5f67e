"""The verb describe, the toy verb of docs/extending.md."""

import argparse
from pathlib import Path
from typing import Any

from jaxepi.verbs import options as shared

ABOUT = "Tells what a run or a released file predicts, and where."


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    shared.add_run(parser, weights=True)
    parser.add_argument("--most-tracks", type=shared.whole_number, default=5, metavar="N", help="so many are named")


def run(options: argparse.Namespace, config: Any, workdir: Path | None) -> None:
    """Prints one line."""
    source = options.weights if options.weights is not None else shared.run_folder(workdir)
    shared.start(options, config)
    from jaxepi.runs.source import load_predictor

    predictor = load_predictor(source, config, options.checkpoint)
    name, grid, tracks = predictor.system.name, predictor.grid, predictor.tracks
    count, named = grid.values(predictor.window), ", ".join(tracks[: options.most_tracks])
    print(f"{name}: {len(tracks)} tracks ({named}), {count} values of each, one a {grid.at}")
