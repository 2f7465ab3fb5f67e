"""Trains a reduced Epiformer on the yeast genome and compares it with regressions on the same test bins; JSON out.

    python benchmarks/epiformer_real.py --minutes 20 --work runs/epiformer_real

From FASTA and a BigWig of ATAC coverage to a plot, by the programs that a user has: `data_prep epiformer` makes windows
of 16,384 bp (chromosome XII validates, IV tests, mitochondrial DNA is left out), launch.py trains the narrow network of
configs/epiformer.py:small for so many minutes and evaluates it, and `launch.py predict --region` draws predicted and
measured signal of a region of a test chromosome. All of that twice: with conservation and without.

No conservation track of yeast is at hand. In its place stands a made-up one, a function of the sequence alone
(benchmarks/standin_conservation.py): it runs the path of a real track and can teach a network nothing about selection,
so that no gain is to be expected from it.

`pearson` has for each track one correlation over all bins of the test windows, of coverage, and `pearson_log2` the same
of log2(1 + coverage): of each network (best checkpoint, mean over strands), of the share of G and C in the bin (`gc`)
and of ridge and gradient boosting on CpG, GC and words of bases in the bin and around it (benchmarks/bin_baselines.py),
fitted on the training windows. `wins` tells whether a network is at least as good as the best of these three.
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
from bin_baselines import boosting_values, composition, pearson, ridge_values, targets_of
from measure import machine, run_program, work_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jaxepi  # noqa: E402
from jaxepi.data import open_dataset  # noqa: E402

CONFIG = "configs/epiformer.py:small"
WINDOW, BIN = 16_384, 128  # bp
HEADER = "index\tidentifier\tfile\tclip\tsum_stat\tdescription\n"
REGION = "chrIV:300000-312000"  # of a test chromosome


def run(*words: object) -> None:
    """A program of the project; its output goes to the terminal, not among the numbers."""
    # huge pages: about a quarter less time for a step on Linux CPUs
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    command = [sys.executable, *map(str, words)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, env=environment)


def prepare(data: Path, work: Path) -> tuple[Path, Path]:
    """The dataset, with conservation in its records, and the conservation track."""
    fasta, bigwig = data / "sacCer3.fa.gz", data / "ATAC_SRR1822137.coverage.bw"
    track, table, folder = work / "standin.phastCons.bw", work / "targets.txt", work / "dataset"
    if not track.exists():
        run("benchmarks/standin_conservation.py", "--fasta", fasta, "--out", track)
    table.write_text(HEADER + f"0\tATAC\t{bigwig}\t128\tmean\tATAC:yeast\n")
    run(
        "-m", "data_prep", "epiformer", "--fasta", fasta, "--targets", table, "--conservation", track,
        "--seqlen", WINDOW, "--binsize", BIN, "--drop-chroms", "chrM", "--valid", "chrXII", "--test", "chrIV",
        "--out", folder,
    )  # fmt: skip
    return folder, track


def train(name: str, folder: Path, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains by launch.py within the time; launch.py evaluates the test windows too."""
    fields = [f"dataset.path={folder}", f"max_minutes={arguments.minutes}", *arguments.set]
    fields.append(f"model.conservation={name == 'conservation'}")
    run("launch.py", f"--config={CONFIG}", f"--workdir={work / name}", *(f"--config.{field}" for field in fields))
    log = [json.loads(line) for line in (work / name / "log.jsonl").read_text().splitlines()]
    start, end = ([line for line in log if line["kind"] == kind][-1] for kind in ("start", "end"))
    rates = [line["samples_per_second"] for line in log if line["kind"] == "train" and line["samples_per_second"]]
    valid = {str(line["step"]): line["metrics"] for line in log if line["kind"] == "eval"}
    summary = json.loads((work / name / "eval" / "test" / "metrics.json").read_text())["summary"]
    metric = "pearson_log2_bin_per_track_mean"
    return {
        "parameters": start["parameters"], "steps": end["step"], "best_step": end["best"]["step"],
        "minutes": round(end["minutes"], 2), "reason": end["reason"],
        "windows_per_s": round(float(np.median(rates)), 3) if rates else None,
        "valid_pearson_log2": {step: round(metrics[metric], 4) for step, metrics in valid.items()},
        "test": {key: round(summary[key], 4) for key in (metric, "pearson_bin_per_track_mean", "loss_total")},
    }  # fmt: skip


def draw(name: str, work: Path, data: Path, track: Path) -> list[str]:
    """Predicts a region with a plot of predicted and measured signal; the files."""
    out = work / f"region_{name}"
    words = ["--conservation", track] if name == "conservation" else []
    run(
        "launch.py", "predict", "--workdir", work / name, "--fasta", data / "sacCer3.fa.gz", "--region", REGION,
        "--measured", data / "ATAC_SRR1822137.coverage.bw", "--out", out, *words,
    )  # fmt: skip
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def cropped(values: np.ndarray, crop: int) -> np.ndarray:
    """Bins (N, T, K) without `crop` ones at both ends, as rows (n, K)."""
    return values[:, crop : values.shape[1] - crop].reshape(-1, values.shape[2])


def scores(values: dict[str, np.ndarray], truth: np.ndarray, tracks: list[str]) -> dict[str, dict[str, Any]]:
    """Correlations of predictions (n, K) with the truth as they are, and of log2(1 + coverage)."""
    log = {name: np.log2(1 + np.maximum(value, 0)) for name, value in values.items()}
    return {
        metric: {
            name: dict(zip(tracks, np.round(pearson(value, wanted), 4).tolist(), strict=True))
            for name, value in made.items()
        }
        for metric, made, wanted in (("pearson", values, truth), ("pearson_log2", log, np.log2(1 + truth)))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = ROOT.parent / "shared" / "data" / "real" / "sacCer3"
    parser.add_argument("--data", type=Path, default=place, help="folder with the genome and its coverage")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each training, compilation left out")
    parser.add_argument("--trees", type=int, default=100, help="of gradient boosting; 0: leave it out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="further fields of the config"
    )
    parser.add_argument("--work", type=Path, help="folder for data, runs and plots; default: a temporary one")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"error: there is no genome in {arguments.data}; give its place with --data")
    started, data = time.monotonic(), arguments.data.absolute()
    with work_folder(arguments.work) as work:
        work = work.absolute()
        folder, track = prepare(data, work)
        dataset = open_dataset(folder, ("coverage",))
        names = ("conservation", "sequence")
        models = {name: train(name, folder, work, arguments) for name in names}
        files = {name: draw(name, work, data, track) for name in names}
        split = dataset.split("test")
        records = [split[number] for number in range(len(split))]
        predictors = {name: jaxepi.load(work / name, which="best") for name in names}
        crop = predictors["sequence"].task.grid.crop // BIN
        values = {}
        for name, predictor in predictors.items():
            made = predictor.predict(split, batch_size=4, rc=True)
            values[f"network_{name}"] = made.reshape(-1, made.shape[2])
        gc = [composition(record["sequence"], BIN)[:, 1:].sum(axis=1) for record in records]
        shape = (len(records), WINDOW // BIN, len(dataset.manifest["tracks"]))
        others = {"gc": np.stack(gc)[..., None].repeat(shape[2], 2), "ridge": ridge_values(dataset).reshape(shape)}
        if arguments.trees:
            others["boosting"] = boosting_values(dataset, range(shape[2]), arguments.trees).reshape(shape)
        values |= {name: cropped(value, crop) for name, value in others.items()}
        truth = cropped(targets_of(split).reshape(shape), crop)
        found = scores(values, truth, dataset.manifest["tracks"])
        best = np.max([list(found["pearson_log2"][name].values()) for name in others], axis=0)
        result = {
            "benchmark": "epiformer_real", "config": CONFIG, "set": arguments.set,
            "conservation": "a stand-in computed from the sequence, see benchmarks/standin_conservation.py",
            "records": dict(dataset.splits), "models": models, "test_bins": len(truth), **found,
            "wins": {
                name: {
                    t: bool(v >= limit)
                    for (t, v), limit in zip(found["pearson_log2"][f"network_{name}"].items(), best, strict=True)
                }
                for name in names
            },
            "region": REGION, "files": files, "machine": machine(), "seconds": round(time.monotonic() - started),
        }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    run_program(main)
