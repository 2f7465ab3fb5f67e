"""`python -m data_prep embeddings-sample`: made-up embeddings with labels that follow from them.

The embeddings are written as `launch.py embed` writes them and the labels as `data_prep labels` does, and both go
through the path of users' own (`python -m data_prep embeddings`). As the rules are known, so is the best prediction of
the noisy labels; it is written beside them (ceiling.json).
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.options import PROGRAM
from data_prep.build.synthetic import Size, make_raw, pearson, run_sample
from data_prep.embeddings import command
from data_prep.labels.folder import LabelWriter
from jaxepi.genome.window_table import COLUMNS, EMBEDDINGS, LABELS, Region, Regions

BINS, CHANNELS, BIN_WIDTH, CROP = 32, 16, 128, 1_024
TRACKS = tuple(f"track_{letter}" for letter in "ABCDEF")
SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}
NOISE = 0.25  # standard deviation, of labels whose own is about 1 before they are scaled
MISSING = 0.02  # share of labels that are NaN, per bin and track
SCALE = 20.0
FORMAT = 1  # raised when the same arguments would give other files

EXPECTATION = (
    "The sample is made up: embeddings are smooth random numbers, and each label is a softplus of a sum of a few "
    "channels with noise (raw/README.md). What a head can reach is the value 'best possible': the exact rules against "
    "the noisy labels. The numbers say nothing about real genomes."
)


def make(seed: int, windows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, T, C) float16, labels (N, T, K) float32 with NaN, and the labels without noise (N, T, K)."""
    random = np.random.default_rng(seed)
    rough = random.standard_normal((windows, BINS + 2, CHANNELS))
    smooth = (rough[:, :-2] + 1.5 * rough[:, 1:-1] + rough[:, 2:]) / np.sqrt(2 + 1.5**2)
    embeddings = smooth.astype(np.float16)
    weight = random.standard_normal((CHANNELS, len(TRACKS))) * (random.random((CHANNELS, len(TRACKS))) < 0.4)
    weight /= np.maximum(np.linalg.norm(weight, axis=0), 1)
    expected = np.logaddexp(0, 2 * embeddings.astype(np.float64) @ weight + 0.5)
    labels = np.maximum(expected + NOISE * random.standard_normal(expected.shape), 0) * SCALE
    labels[random.random(labels.shape) < MISSING] = np.nan
    return embeddings, labels.astype(np.float32), expected * SCALE


def write_raw(folder: Path, seed: int, windows: int) -> dict[str, Any]:
    """Writes embeddings/, labels/, README.md and ceiling.json to `folder`; returns the ceiling."""
    embeddings, labels, expected = make(seed, windows)
    span = BINS * BIN_WIDTH + 2 * CROP
    names = np.repeat(list(SHARES), np.diff(np.round(np.cumsum([0, *SHARES.values()]) * windows).astype(int)))
    start = span * np.arange(windows, dtype=np.int64)
    regions = Regions(["chr1"] * windows, start, start + span, names.tolist())
    geometry = {"window": span, "bins": BINS, "bin_width": BIN_WIDTH, "crop": CROP, "count": windows}
    _write_embeddings(folder / "embeddings", embeddings, regions, geometry, {"sample": seed, "format": "npy"})
    _write_labels(folder / "labels", labels, regions, geometry, {"sample": seed})
    splits = {name: _ceiling(expected[names == name], labels[names == name]) for name in SHARES if name != "train"}
    (folder / "README.md").write_text(_readme(seed, windows))
    result = {"arguments": _arguments(seed, windows), "text": EXPECTATION, "splits": splits}
    (folder / "ceiling.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def _write_embeddings(
    out: Path, values: np.ndarray, regions: Regions, geometry: dict[str, Any], arguments: dict[str, Any]
) -> None:
    from jaxepi import __version__
    from jaxepi.data.array_folder import fingerprint_of_arrays
    from jaxepi.data.manifest import sealed
    from jaxepi.storage.embedding_store import EmbeddingStore

    told = {"system": None, "source": "made up", "weights": None}
    entries = {"kind": EMBEDDINGS, "jaxepi_version": __version__, "arguments": arguments, "trunk": told} | geometry
    entries |= {"channels": CHANNELS, "dtype": "float16", "shard": 256}
    rows = [
        Region(regions.shown(row), regions.chrom[row], int(regions.start[row]), int(regions.end[row]), split)
        for row, split in enumerate(regions.split)
    ]

    def seal(files: dict[str, Any]) -> str:
        splits = {name: {"records": count} for name, count in store.splits.items()}
        fingerprint = fingerprint_of_arrays(arguments, files)
        return sealed({**entries, "files": files, "splits": splits, "fingerprint": fingerprint})

    with EmbeddingStore(out, arguments, count=len(values), shape=values.shape[1:], columns=COLUMNS) as store:
        store.append(values, rows)
        store.finish(seal)


def _write_labels(
    out: Path, labels: np.ndarray, regions: Regions, geometry: dict[str, Any], arguments: dict[str, Any]
) -> None:
    from jaxepi import __version__
    from jaxepi.data.array_folder import fingerprint_of_arrays
    from jaxepi.data.manifest import sealed

    out.mkdir()
    writer = LabelWriter(out, regions, labels.shape, BIN_WIDTH, "npy")
    writer.write(0, labels, np.nanmean(labels, axis=1), ["whole"] * len(labels))
    files = writer.finish()
    splits = {name: {"records": regions.split.count(name)} for name in SHARES}
    entries = {"kind": LABELS, "jaxepi_version": __version__, "arguments": arguments, "tracks": list(TRACKS)} | geometry
    entries |= {"files": files, "splits": splits, "fingerprint": fingerprint_of_arrays(arguments, files)}
    (out / "manifest.json").write_text(sealed(entries))


def _ceiling(expected: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Pearson of the exact rules with the labels, over bins, per track and as their mean."""
    known = ~np.isnan(labels)
    per_track = {
        name: {"pearson_bin": pearson(expected[..., k][known[..., k]], labels[..., k][known[..., k]])}
        for k, name in enumerate(TRACKS)
    }
    mean = float(np.mean([numbers["pearson_bin"] for numbers in per_track.values()]))
    return {"bins": int(known.any(-1).sum()), "pearson_bin_per_track_mean": mean, "per_track": per_track}


def _readme(seed: int, windows: int) -> str:
    return f"""# Made-up embeddings (seed {seed}, {windows} windows)

Made by `python -m data_prep embeddings-sample`. Nothing here is measured or comes from a model. Embeddings
({BINS} bins, {CHANNELS} channels) are normal numbers, averaged over three neighbouring bins. The label of a bin and
track is {SCALE:.0f} times softplus(2 w·x + 0.5), where w has about 40 % of the channels and length 1 at most, plus
normal noise of {SCALE * NOISE:.0f}, and not below 0. {MISSING:.0%} of the labels are missing. The label of a window is
the mean of its bins.

`ceiling.json` holds what the exact rules reach on the labels of the held-out windows.
"""


def _arguments(seed: int, windows: int) -> dict[str, Any]:
    return {"seed": seed, "windows": windows, "format": FORMAT}


def prepare(out: Path, seed: int = 0, windows: int = 64) -> dict[str, Any]:
    """Makes `out`/raw unless it is there, all or nothing; returns what ceiling.json holds."""
    return make_raw(out, _arguments(seed, windows), lambda folder: write_raw(folder, seed, windows))


def arguments(raw: Path) -> list[str]:
    """Options of `data_prep embeddings` for the files of a sample."""
    return ["--embeddings", os.fspath(raw / "embeddings"), "--labels", os.fspath(raw / "labels")]


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Makes the raw files and the dataset; a rerun does nothing. Returns the exit status."""
    return run_sample(
        "embeddings-sample",
        argv,
        Size("windows", 64, 10, "number of windows"),
        about=__doc__.splitlines()[0],
        headline=f"{{}} made-up windows with {len(TRACKS)} tracks",
        prepare=prepare,
        command=command.main,
        arguments=arguments,
        program=program,
    )
