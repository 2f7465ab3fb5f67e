"""Trains DeepCpG on real methylation, beside the mean of each cell's nearest neighbours; one JSON line.

    python benchmarks/deepcpg_real.py --set serum    # two mouse cells, CpG network, chr18 -> chr19
    python benchmarks/deepcpg_real.py --set mm10     # thirty mouse cells with sequence, very few sites
    python benchmarks/deepcpg_real.py --set imr90    # pseudo-cells drawn from read counts of human chr22

All in the users' own way: `python -m data_prep deepcpg`, then launch.py with the three shipped configs one after the
other. The data lie outside the project (see --data).

`imr90` is derived data, not single cells: each pseudo-cell is observed at a random fifth of the CpGs, and its state
there is 1 with the probability that the pooled reads give; the draw is seeded. Its `limit` is the AUC of that very
probability, which no model can exceed but by chance.

Baselines on the same test sites, from the states of the same cell only: `two_nearest`, the mean of the two nearest
observed neighbours, and `weighted`, the mean of all of them weighted by 1 / distance. A value per cell is the area
under the ROC curve over its observed test sites, NaN left out of the mean.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import run_program, work_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jaxepi.data import Dataset, open_dataset  # noqa: E402
from jaxepi.metrics.exact import auc  # noqa: E402

BLOCK = 100_000  # bp of imr90 that belong to one split
PATTERN = ("train", "train", "valid", "train", "train", "test", "train")
SERUM_VALID = 0.15  # share of the sites of chr18, its last ones, that choose the best checkpoint
MM10_FOLDS = 5  # windows are dealt out: of five in a row one is for validation, one for the test
OBSERVED = 0.2  # share of the CpGs that a pseudo-cell was observed at
FOLDERS = {"serum": "deepcpg", "mm10": "real/mm10_singlecell", "imr90": "real/hg19_chr22_31_35.5Mb"}

# Changes to the shipped configs, which are made for millions of sites: a larger rate, more passes over few sites.
FIELDS: dict[str, dict[str, Sequence[str]]] = {
    "serum": {"cpg": ("optimizer.learning_rate=1e-3", "steps=30")},
    "mm10": {
        "dna": ("optimizer.learning_rate=3e-4", "steps=20", "model.dna_dropout=0.4"),
        "cpg": ("optimizer.learning_rate=1e-3", "steps=40", "model.cpg_dropout=0.4"),
        "joint": ("optimizer.learning_rate=3e-4", "steps=20", "model.joint_dropout=0.4"),
    },
    "imr90": {
        "dna": ("optimizer.learning_rate=3e-4", "steps=30"),
        "cpg": ("optimizer.learning_rate=1e-3", "steps=30"),
        "joint": ("optimizer.learning_rate=3e-4", "steps=10"),
    },
}


def serum(folder: Path, work: Path) -> list[str]:
    """Arguments of data_prep: chr18 for training and validation, chr19 for the test."""
    profiles = [str(folder / f"{cell}.bed.gz") for cell in ("BS27_4_SER", "BS28_2_SER")]
    seen = np.unique([position for path in profiles for chrom, position in read_columns(path) if chrom == "18"])
    edge = int(seen[int(len(seen) * (1 - SERUM_VALID))])
    write_regions(work, [("18", 0, edge, "train"), ("18", edge, int(seen[-1]) + 2, "valid"), ("19", 0, 2**30, "test")])
    annotations = [str(folder / "annos" / f"{name}.bed.gz") for name in ("CGI", "exons")]
    return ["--profiles", *profiles, "--format", "tsv", "--annotations", *annotations, "--chrom-prefix", "strip"]


def mm10(folder: Path, work: Path) -> list[str]:
    """Arguments of data_prep: the windows of sequence are dealt out to the splits."""
    with gzip.open(folder / "mm10.windows.fa.gz", "rt") as file:
        names = sorted(line[1:].split()[0] for line in file if line.startswith(">"))
    rows = []
    for number, name in enumerate(names):
        chrom, _, span = name.partition(":")
        first, last = map(int, span.split("-"))
        split = {0: "test", 1: "valid"}.get(number % MM10_FOLDS, "train")
        rows.append((chrom, first - 1, last, split))
    write_regions(work, rows)
    profiles = map(str, sorted((folder / "cells").glob("cell_*.cov.gz")))
    fasta = ["--fasta", str(folder / "mm10.windows.fa.gz"), "--fasta-pieces"]
    return ["--profiles", *profiles, "--values", "round", "--unsorted", "sort", *fasta, "--unobserved-cells", "allow"]


def imr90(folder: Path, work: Path, cells: int, seed: int) -> list[str]:
    """Arguments of data_prep: pseudo-cells are drawn at the CpGs of known sequence, blocks are dealt out."""
    known = [line.split() for line in (folder / "known_sequence.bed").read_text().splitlines()]
    spans = np.array([(int(row[1]), int(row[2])) for row in known])
    position, share = read_shares(folder)
    inside = ((position[:, None] > spans[None, :, 0]) & (position[:, None] <= spans[None, :, 1])).any(axis=1)
    position, share = position[inside], share[inside]
    random = np.random.default_rng(seed)
    (work / "cells").mkdir(parents=True, exist_ok=True)
    profiles = [work / "cells" / f"pseudo{number:02d}.tsv" for number in range(cells)]
    for path in profiles:
        chosen = np.flatnonzero(random.random(len(position)) < OBSERVED)
        states = random.random(len(chosen)) < share[chosen]
        path.write_text("".join(f"chr22\t{position[i]}\t{int(s)}\n" for i, s in zip(chosen, states, strict=True)))
    starts = range(31_000_000, 35_500_000, BLOCK)
    write_regions(work, [("chr22", s, s + BLOCK, PATTERN[i % len(PATTERN)]) for i, s in enumerate(starts)])
    islands = ["--annotations", str(folder / "cpg_islands.bed.gz")]
    return ["--profiles", *map(str, profiles), "--fasta", str(folder / "chr22_31_35.5Mb.fa.gz"), *islands]


def read_columns(path: str) -> list[tuple[str, int]]:
    """Chromosome and 1-based position of each line."""
    with gzip.open(path, "rt") as file:
        return [(words[0], int(words[1])) for words in (line.split("\t") for line in file)]


def read_shares(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """1-based positions and shares of methylated reads of IMR90, where it was covered."""
    with gzip.open(folder / "IMR90_pooled.cpg.cov.gz", "rt") as file:
        rows = np.array([[int(words[i]) for i in (1, 4, 5)] for words in (line.split("\t") for line in file)])
    rows = rows[rows[:, 1:].sum(axis=1) > 0]
    return rows[:, 0], rows[:, 1] / rows[:, 1:].sum(axis=1)


def write_regions(work: Path, rows: Sequence[tuple[str, int, int, str]]) -> None:
    """The BED file of the splits."""
    lines = ["\t".join(map(str, row)) for row in rows]
    (work / "splits.bed").write_text("\n".join(lines) + "\n")


def prepare(chosen: str, folder: Path, work: Path, arguments: argparse.Namespace) -> Path:
    """The dataset, by data_prep."""
    if chosen == "imr90":
        words = imr90(folder, work, arguments.cells, arguments.seed)
    else:
        words = {"serum": serum, "mm10": mm10}[chosen](folder, work)
    command = [sys.executable, "-m", "data_prep", "deepcpg", *words, "--regions", str(work / "splits.bed")]
    command += ["--cpg-wlen", str(arguments.neighbours), "--out", str(work / "dataset")]
    subprocess.run([*command, "--no-progress"], cwd=ROOT, check=True, stdout=sys.stderr)
    return work / "dataset"


def baselines(dataset: Dataset) -> dict[str, Any]:
    """AUC per cell on the test split of the two nearest neighbours, and of all weighted by 1 / distance."""
    cells = dataset.manifest["cells"]
    guesses: dict[str, list[list[float]]] = {name: [[] for _ in cells] for name in ("two_nearest", "weighted")}
    labels: list[list[float]] = [[] for _ in cells]
    split = dataset.split("test")
    for record in (split[i] for i in range(len(split))):
        for cell, value in zip(record["cell"], record["value"], strict=True):
            there = record["distance"][cell] != 65535
            state = record["state"][cell][there].astype(float)
            distance = record["distance"][cell][there].astype(float)
            nearest = np.argsort(distance, kind="stable")[:2]
            labels[cell].append(float(value))
            guesses["two_nearest"][cell].append(state[nearest].mean() if there.any() else 0.5)
            guesses["weighted"][cell].append(np.average(state, weights=1 / distance) if there.any() else 0.5)
    return {
        name: per_cell([auc(np.array(g), np.array(y) > 0.5) for g, y in zip(columns, labels, strict=True)])
        for name, columns in guesses.items()
    }


def limit(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """AUC per pseudo-cell of the share that its states were drawn with."""
    position, share = read_shares(folder)
    of = dict(zip((position - 1).tolist(), share.tolist(), strict=True))
    split = dataset.split("test")
    pairs: list[list[tuple[float, float]]] = [[] for _ in dataset.manifest["cells"]]
    for record in (split[i] for i in range(len(split))):
        for cell, value in zip(record["cell"], record["value"], strict=True):
            pairs[cell].append((of[int(record["start"])], float(value)))
    return per_cell([auc(np.array(own)[:, 0], np.array(own)[:, 1] > 0.5) for own in pairs])


def per_cell(values: Sequence[float | None]) -> dict[str, Any]:
    """Values of all cells (None where undefined), and their mean."""
    known = np.array([np.nan if value is None else value for value in values], float)
    shown = [None if value != value else round(float(value), 4) for value in known]
    return {"auc_mean": round(float(np.nanmean(known)), 4), "auc": shown}


def train(stage: str, work: Path, chosen: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One stage by launch.py within the time; the best checkpoint is evaluated on the test split."""
    command = [
        sys.executable, "launch.py", f"--config=configs/deepcpg_{stage}.py", f"--workdir={work / stage}",
        f"--config.dataset.path={work / 'dataset'}", f"--config.max_minutes={arguments.minutes}",
        *(f"--config.{change}" for change in FIELDS[chosen][stage]),
    ]  # fmt: skip
    if stage == "joint":
        command += [f"--config.init_from=('{work / 'dna'}::dna.*','{work / 'cpg'}::cpg.*')"]
    subprocess.run([*command, *arguments.set_field], cwd=ROOT, check=True, stdout=sys.stderr)
    found = json.loads((work / stage / "eval" / "test" / "metrics.json").read_text())
    lines = map(json.loads, (work / stage / "log.jsonl").read_text().splitlines())
    end = [line for line in lines if line["kind"] == "end"][-1]
    return {
        **per_cell(found["per_track"]["auc_sampled_cpg"]),
        "auc_all_values": round(found["summary"]["auc_cpg_flat"], 4),
        "steps": end["step"],
        "best_step": end["best"]["step"],
        "minutes": round(end["minutes"], 2),
        "reason": end["reason"],
    }


def measure(chosen: str, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one set."""
    folder = arguments.data / FOLDERS[chosen]
    dataset = open_dataset(prepare(chosen, folder, work, arguments))
    others: dict[str, Mapping[str, Any]] = baselines(dataset)
    if chosen == "imr90":
        others["limit"] = limit(dataset, folder)
    models = {stage: train(stage, work, chosen, arguments) for stage in FIELDS[chosen]}
    counts = {name: len(dataset.split(name)) for name in dataset.splits}
    best = max(model["auc_mean"] for model in models.values())
    return {
        "benchmark": "deepcpg_real",
        "set": chosen,
        "derived": "pseudo-cells drawn from pooled read counts" if chosen == "imr90" else None,
        "cells": dataset.manifest["cells"],
        "sites": counts,
        "test_labels": dataset.manifest["splits"]["test"]["observed"],
        "models": models,
        "baselines": others,
        "beats_two_nearest": best > others["two_nearest"]["auc_mean"],
        "cpus": os.cpu_count(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=sorted(FIELDS), default="serum")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the sets")
    parser.add_argument("--minutes", type=float, default=3.0, help="training time of each stage")
    parser.add_argument("--neighbours", type=int, default=50, help="neighbouring sites of each cell")
    parser.add_argument("--cells", type=int, default=12, help="imr90: pseudo-cells")
    parser.add_argument("--seed", type=int, default=0, help="imr90: of the draw")
    parser.add_argument("--set-field", nargs="*", default=[], help="further --config.x=y for launch.py")
    parser.add_argument("--work", type=Path, help="folder for the dataset and the runs; default: a temporary one")
    arguments = parser.parse_args()
    folder = arguments.data / FOLDERS[arguments.set]
    if not folder.is_dir():
        raise SystemExit(f"error: there is no data set in {folder}; give its place with --data")
    with work_folder(arguments.work) as work:
        started = time.monotonic()
        result = measure(arguments.set, work, arguments)
        print(json.dumps(result | {"seconds": round(time.monotonic() - started)}))


if __name__ == "__main__":
    run_program(main)
