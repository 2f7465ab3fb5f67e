"""Prediction of bins through the verb against the bare forward pass, and its memory. Prints one JSON line.

    python benchmarks/prediction_verb.py [--config FILE[:VARIANT]] [--set model.dtype=bfloat16] [--windows 256]

A made-up genome is predicted by what `launch.py predict --regions` calls: FASTA, windows, HDF5 and the BigWigs of a
few tracks. The bare pass runs the same compiled model over as many batches of one batch of codes; both take turns.
Without --config the model is the toy of --system. `growth_mb` is what a job of four times the windows adds to the
largest resident memory of this process.
"""

import argparse
import inspect
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from measure import Timing, interleaved, machine, peak_rss_mb, print_json, ratios
from workload import read_config, set_field

from jaxepi.analysis.predict_bins import predict_bin_files
from jaxepi.console import one_sentence_errors
from jaxepi.errors import JaxepiError
from jaxepi.predictor import Predictor
from jaxepi.registry import get_system, task_of


def main() -> None:
    """Parses the flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="config file of a system of bins, with :variant if wanted")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the config")
    parser.add_argument("--system", default="basenji", help="whose toy is predicted, without --config")
    parser.add_argument("--window", type=int, default=131_072, help="bp, with --config")
    parser.add_argument("--bins", type=int, default=512, help="predicted bins of a window of the toy")
    parser.add_argument("--tracks", type=int, default=16, help="outputs of the model")
    parser.add_argument("--bigwigs", type=int, default=2, help="tracks that are written as BigWigs, in another job")
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3, help="timed jobs of each kind")
    arguments = parser.parse_args()
    with one_sentence_errors(), tempfile.TemporaryDirectory() as folder:
        predictor = make_predictor(arguments)
        result = {"benchmark": "prediction_verb", "system": predictor.system.name, "window": predictor.window}
        result |= {"tracks": len(predictor.tracks), "batch_size": arguments.batch_size, "windows": arguments.windows}
        result |= run(predictor, arguments, Path(folder))
        print_json({**result, "device": jax.devices()[0].device_kind, "machine": machine(), "jax": jax.__version__})


def make_predictor(arguments: argparse.Namespace) -> Predictor:
    """An untrained model of the config, or of the system's toy.

    Raises:
      JaxepiError: a system whose values do not lie in bins, or sizes that do not fit.
    """
    config = read_config(arguments.config) if arguments.config else None
    for change in arguments.set if config is not None else []:
        set_field(config, change)
    system = get_system(config.system if config is not None else arguments.system)
    asked = {"bins": arguments.bins, "tracks": arguments.tracks}
    known = inspect.signature(system.toy).parameters
    toy = system.toy(0, 0, **{name: value for name, value in asked.items() if name in known})
    if config is None:
        task = task_of(system, toy.model, toy.task, toy.manifest)
    else:  # where the bins lie, the model tells
        manifest = {name: toy.manifest[name] for name in ("kind", "tracks")} | {"window": arguments.window}
        task = task_of(system, config.model, config.task, manifest)
    if task.grid.at != "bin":
        raise JaxepiError(f"{system.name} predicts no bins here: choose another --system or --config.")
    return Predictor(task.build_model(nnx.Rngs(0)), system, task, source=system.name)


def write_inputs(folder: Path, predictor: Predictor, windows: int) -> dict[str, Path]:
    """A random chromosome, and a region that its windows tile."""
    span = predictor.grid.bin * predictor.grid.values(predictor.window)
    random, length = np.random.default_rng(0), span * windows + predictor.window
    letters = np.frombuffer(b"ACGT", np.uint8)[random.integers(0, 4, length)].tobytes().decode()
    paths = {"fasta": folder / f"genome{windows}.fa", "regions": folder / f"regions{windows}.bed"}
    paths["fasta"].write_text(">chr1\n" + "\n".join(letters[low : low + 80] for low in range(0, length, 80)) + "\n")
    paths["regions"].write_text(f"chr1\t{predictor.grid.crop}\t{predictor.grid.crop + span * windows}\n")
    return paths


def run(predictor: Predictor, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Times the bare pass and both kinds of jobs in turn, then measures memory."""
    size, jobs = predictor.rows(arguments.batch_size), iter(range(10**6))
    paths = {n: write_inputs(folder, predictor, n) for n in (arguments.windows, 4 * arguments.windows)}
    codes = np.random.default_rng(1).integers(0, 4, (size, predictor.window)).astype(np.uint8)

    def bare() -> None:
        for _ in range(-(-arguments.windows // size)):
            values = predictor.begin(codes)
        jax.block_until_ready(values)

    def job(windows: int, **more: Any) -> None:
        out = folder / f"out{next(jobs)}"
        predict_bin_files(predictor, **paths[windows], out_dir=out, batch_size=size, progress=False, **more)

    chosen = predictor.tracks[: arguments.bigwigs]
    programs = {
        "bare": bare,
        "hdf5": lambda: job(arguments.windows, formats=["hdf5"]),
        "bigwig": lambda: job(arguments.windows, tracks=chosen),
    }
    timings = interleaved(programs, arguments.steps)
    before = peak_rss_mb()
    job(4 * arguments.windows)
    result: dict[str, Any] = {name: timing.summary(arguments.windows) for name, timing in timings.items()}
    for name in ("hdf5", "bigwig"):
        result |= {f"{name}_{what}": value for what, value in _share(timings[name], timings["bare"]).items()}
    return result | {"peak_rss_mb": before, "growth_mb": round(peak_rss_mb() - before, 1)}


def _share(verb: Timing, bare: Timing) -> dict[str, float]:
    """Windows a second through the verb as a share of the bare pass."""
    return {name: value for name, value in ratios(verb, bare).items() if name != "ratio_cpu_time"}


if __name__ == "__main__":
    main()
