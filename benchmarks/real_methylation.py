"""Trains Melody on real methylation and compares it with simple baselines on the same held-out CpGs; one JSON line.

    python benchmarks/real_methylation.py --set imr90 --minutes 15 --width 64

The data sets lie outside the project (see --data); each is one stretch of a human chromosome with measured CpGs. The
stretch is cut into blocks of 100 kb: of seven in a row one is held out for validation and one for the test. Baselines:
the track's training mean, and a linear and a logistic regression on CpG density, GC and N content around the CpG at
several scales up to 5 kb to each side, as far as the model's window reaches; and the same two with one more scale,
25 kb to each side, which tells how much lies outside the window. All are fitted on the training blocks, and all numbers
are over both letters of the measured CpGs of the test windows.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import run_program, work_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jaxepi.data import open_dataset  # noqa: E402
from jaxepi.genome.fasta import Genome  # noqa: E402
from jaxepi.metrics.exact import auc  # noqa: E402

SETS = {
    "imr90": {
        "folder": "hg19_chr22_31_35.5Mb",
        "fasta": "chr22_31_35.5Mb.fa.gz",
        "bigwigs": ["IMR90_pooled.meth.bw"],
        "chrom": "chr22",
        "stretch": (31_000_000, 35_500_000),
        "train_windows": 3000,  # random ones overlap: the same CpGs at many places of the window
    },
    "lung": {
        "folder": "hg19_chr20_11Mb",
        "fasta": "chr20_11Mb.fa.gz",
        "bigwigs": ["lung_normal.meth.bw", "lung_tumour.meth.bw"],
        "chrom": "chr20",
        "stretch": (9_660_000, 10_790_000),
        "train_windows": 800,
    },
}
BLOCK = 100_000  # bp, so that held-out windows are far from most training windows
PATTERN = ("train", "train", "valid", "train", "train", "test", "train")
REACHES = (50, 125, 250, 500, 1000, 2500, 5000)  # bp to each side, of the baselines' features: what a window shows
FAR = 25_000  # bp to each side, of one more feature set that sees more than the model's window


def prepare(chosen: dict[str, Any], data: Path, work: Path) -> Path:
    """The user's own way: a BED with splits, then data_prep."""
    first, last = chosen["stretch"]
    lines = []
    for number, start in enumerate(range(first, last, BLOCK)):
        split = PATTERN[number % len(PATTERN)]
        lines.append(f"{chosen['chrom']}\t{start}\t{min(start + BLOCK, last)}\t{split}")
    (work / "splits.bed").write_text("\n".join(lines) + "\n")
    folder = data / chosen["folder"]
    command = [
        sys.executable, "-m", "data_prep", "melody", "--fasta", str(folder / chosen["fasta"]),
        "--bigwigs", *(str(folder / name) for name in chosen["bigwigs"]), "--regions", str(work / "splits.bed"),
        "--windows", f"train=random:{chosen['train_windows']}", "valid=tiles", "test=tiles", "--drop-empty",
        "--out", str(work / "dataset"),
    ]  # fmt: skip
    subprocess.run([*command, "--no-progress"], cwd=ROOT, check=True, stdout=sys.stderr)
    return work / "dataset"


def measured(dataset: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) in the chromosome and beta (n, K) of the measured CpG letters of a split; NaN = not measured."""
    positions, values = [], []
    for record in dataset.split(split):
        codes = record["sequence"]
        beta = np.full((len(codes) + 1, len(dataset.manifest["tracks"])), np.nan, np.float32)
        beta[record["position"]] = record["value"]
        wide = record["width"] == 2
        beta[record["position"][wide] + 1] = record["value"][wide]
        dyad = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
        letters = np.sort(np.concatenate([dyad, dyad + 1]))
        beta = beta[letters]
        beta[~((beta >= 0) & (beta <= 1))] = np.nan
        keep = ~np.isnan(beta).all(axis=1)
        positions.append(letters[keep] + int(record["start"]))
        values.append(beta[keep])
    return np.concatenate(positions), np.concatenate(values)


def features(codes: np.ndarray, positions: np.ndarray, reaches: tuple[int, ...]) -> np.ndarray:
    """CpG density, GC and N content with their roots and squares (n, 9 x reaches) around each position."""
    dyad = np.append((codes[:-1] == 1) & (codes[1:] == 2), False)
    columns = []
    for mark in (dyad, (codes == 1) | (codes == 2), codes == 4):
        total = np.concatenate([[0], np.cumsum(mark)])
        for reach in reaches:
            low, high = np.maximum(positions - reach, 0), np.minimum(positions + reach + 1, len(codes))
            share = (total[high] - total[low]) / (high - low)
            columns += [share, np.sqrt(share), share**2]
    return np.stack(columns, axis=1)


def baselines(dataset: Any, codes: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Per-track AUC and Pearson of the baselines on the test split."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (train_at, train_beta), (test_at, test_beta) = measured(dataset, "train"), measured(dataset, "test")
    found: dict[str, dict[str, list[float]]] = {}
    for track in range(train_beta.shape[1]):
        fit, use = ~np.isnan(train_beta[:, track]), ~np.isnan(test_beta[:, track])
        y, truth = train_beta[fit, track], test_beta[use, track]
        guesses = {"track_mean": np.full(use.sum(), y.mean())}
        for suffix, reaches in (("", REACHES), ("_far", (*REACHES, FAR))):
            train_x, test_x = features(codes, train_at[fit], reaches), features(codes, test_at[use], reaches)
            linear = make_pipeline(StandardScaler(), Ridge(1.0)).fit(train_x, y)
            logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(train_x, y > 0.5)
            guesses[f"linear{suffix}"] = linear.predict(test_x)
            guesses[f"logistic{suffix}"] = logistic.predict_proba(test_x)[:, 1]
        for name, guess in guesses.items():
            found.setdefault(name, {"auc": [], "pearson": []})
            found[name]["auc"].append(round(float(auc(guess, truth > 0.5)), 4))
            constant = np.ptp(guess) == 0
            found[name]["pearson"].append(None if constant else round(float(np.corrcoef(guess, truth)[0, 1]), 4))
    return found


def train(dataset: Path, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains by launch.py within the time, evaluates the best checkpoint on the test split."""
    command = [
        sys.executable, "launch.py", "--config=configs/melody_mt.py:modern", f"--workdir={work / 'run'}",
        f"--config.dataset.path={dataset}", f"--config.model.width={arguments.width}", "--config.model.dtype=float32",
        "--config.batch_size=4", "--config.eval_batch_size=8", f"--config.max_minutes={arguments.minutes}",
        f"--config.steps={arguments.steps}", "--config.eval_every=150", "--config.save_every=150",
        "--config.log_every=20", "--config.optimizer.warmup_steps=50", "--config.optimizer.ema_decay=0.99",
        "--config.task.reverse_complement=True", *arguments.set_field,
    ]  # fmt: skip
    # huge pages: about a quarter less time for a step on Linux CPUs
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, env=environment)
    found = json.loads((work / "run" / "eval" / "test" / "metrics.json").read_text())
    log = [json.loads(line) for line in (work / "run" / "log.jsonl").read_text().splitlines()]
    end = [line for line in log if line["kind"] == "end"][-1]
    per_track = found["per_track"]
    return {
        "auc": [round(v, 4) for v in per_track["auc_cpg"]],
        "pearson": [round(v, 4) for v in per_track["pearson_cpg"]],
        "steps": end["step"],
        "best_step": end["best"]["step"],
        "minutes": round(end["minutes"], 1),
        "reason": end["reason"],
        "report": str(work / "run" / "report" / "report.html"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=sorted(SETS), default="imr90")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "real", help="folder of the sets"
    )
    parser.add_argument("--minutes", type=float, default=15.0, help="training time")
    parser.add_argument("--steps", type=int, default=1_300, help="length of the cosine schedule in updates")
    parser.add_argument("--width", type=int, default=64, help="channels of the trunk")
    parser.add_argument("--set-field", nargs="*", default=[], help="further --config.x=y for launch.py")
    parser.add_argument("--work", type=Path, help="folder for the dataset and the run; default: a temporary one")
    arguments = parser.parse_args()
    chosen = SETS[arguments.set]
    if not (arguments.data / chosen["folder"]).is_dir():
        raise SystemExit(
            f"error: there is no data set in {arguments.data / chosen['folder']}; give its place with --data"
        )
    with work_folder(arguments.work) as work:
        started = time.monotonic()
        dataset_path = prepare(chosen, arguments.data, work)
        dataset = open_dataset(dataset_path)
        genome = Genome(arguments.data / chosen["folder"] / chosen["fasta"])
        codes = genome.codes(chosen["chrom"], 0, genome.lengths[chosen["chrom"]])
        others = baselines(dataset, codes)
        model = train(dataset_path, work, arguments)
        result = {
            "benchmark": "real_methylation", "set": arguments.set, "tracks": dataset.manifest["tracks"],
            "windows": {name: len(dataset.split(name)) for name in dataset.splits},
            "test_letters": int(len(measured(dataset, "test")[0])), "width": arguments.width, "model": model,
            "baselines": others, "cpus": os.cpu_count(), "seconds": round(time.monotonic() - started),
        }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    run_program(main)
