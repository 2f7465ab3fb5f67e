"""Trains a reduced Basenji2 on real records and compares it with regressions on the same test bins; one JSON object.

    python benchmarks/basenji_real.py --minutes 20
    python benchmarks/basenji_real.py --minutes 20 --and ../shared/data/real/basenji_tiny/mm10
    python benchmarks/basenji_real.py --minutes 20 --set steps=1600 --set optimizer.weight_decay=0.1

The records are those of a folder in the original's layout, by default the small public hg38 set that ships with the
code of Borzoi: 45 training, 10 validation and 10 test windows of 131 kb, 74 tracks in 2,048 bins of 32 bp. The network
is configs/basenji2.py:real, at most 2 million parameters, trained by launch.py; the checkpoint that is best on the
validation records predicts the test records, forward and as reverse complements. With --and, another genome is trained
on as well, through a head of its own. `steps` is the length of the schedule: `reason` says whether the time sufficed.

`pearson` of an assay, the part of the tracks' descriptions before the colon, is the mean over its tracks of one
correlation over all bins of all test records. The baselines are ridge and gradient boosting on CpG, GC and words of
bases in each bin and around it (benchmarks/bin_baselines.py), fitted on the training records; `wins` tells for each
assay whether the network is at least as good as the better of the two.
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
from bin_baselines import boosting, pearson, ridge, targets_of
from measure import machine, run_program, work_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jaxepi  # noqa: E402
from configs.basenji2 import HEAD  # noqa: E402
from jaxepi.data import open_dataset  # noqa: E402
from jaxepi.errors import JaxepiError  # noqa: E402

MOST_PARAMETERS = 2_000_000
SHIFTS = (0, 1, -1)  # of the ensemble that predicts


def train(data: Path, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains by launch.py within the time."""
    metric, fields = "pearson_bin_per_track_mean", [f"dataset.path={data}"]
    if arguments.further is not None:
        metric = f"{metric}@{data.name}"
        paths, heads = (str(data), str(arguments.further.absolute())), (json.dumps(HEAD),) * 2
        fields = [f"dataset.paths={paths}", f"model.heads={heads}", "model.head_names=('first','second')"]
        fields.append(f"monitor={metric}")
    fields += [f"max_minutes={arguments.minutes}", "report=False", *arguments.set]
    command = [
        sys.executable, "launch.py", f"--config={arguments.config}", f"--workdir={work / 'run'}",
        *(f"--config.{field}" for field in fields),
    ]  # fmt: skip
    # huge pages: about a quarter less time for a step on Linux CPUs
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, env=environment)
    log = [json.loads(line) for line in (work / "run" / "log.jsonl").read_text().splitlines()]
    start, end = ([line for line in log if line["kind"] == kind][-1] for kind in ("start", "end"))
    if start["parameters"] > MOST_PARAMETERS:
        raise JaxepiError(f"The network has {start['parameters']:,} parameters, more than {MOST_PARAMETERS:,}.")
    valid = {line["step"]: line["metrics"][metric] for line in log if line["kind"] == "eval"}
    rates = [line["samples_per_second"] for line in log if line["kind"] == "train" and line["samples_per_second"]]
    return {
        "parameters": start["parameters"], "steps": end["step"], "best_step": end["best"]["step"],
        "minutes": round(end["minutes"], 2), "reason": end["reason"],
        "windows_per_s": round(float(np.median(rates)), 3) if rates else None,
        "valid_pearson": {str(step): round(value, 4) for step, value in valid.items()},
    }  # fmt: skip


def predicted(work: Path, split: Any) -> np.ndarray:
    """Predictions of the best checkpoint for all bins of a split (N, K), a mean over strands and shifts."""
    predictor = jaxepi.load(work / "run", which="best")
    values = predictor.predict(split, batch_size=1, rc=True, shifts=SHIFTS)
    return values.reshape(-1, values.shape[-1])


def by_assay(values: np.ndarray, assays: np.ndarray) -> dict[str, float]:
    """Mean of values (K,) over the tracks of each assay."""
    return {str(assay): round(float(np.nanmean(values[assays == assay])), 4) for assay in dict.fromkeys(assays)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    place = ROOT.parent / "shared" / "data" / "real" / "basenji_tiny" / "hg38"
    parser.add_argument("--data", type=Path, default=place, help="dataset of coverage, in either layout")
    parser.add_argument("--and", type=Path, dest="further", metavar="FOLDER", help="train on these records as well")
    parser.add_argument("--config", default="configs/basenji2.py:real", help="the network and its training")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time, compilation left out")
    parser.add_argument("--trees", type=int, default=100, help="of gradient boosting for each track; 0: leave it out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="further fields of the config"
    )
    parser.add_argument("--work", type=Path, help="folder for the run; default: a temporary one")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"error: there is no dataset in {arguments.data}; give its place with --data")
    with work_folder(arguments.work) as work:
        started = time.monotonic()
        dataset = open_dataset(arguments.data, ("coverage",))
        assays = np.array([text.partition(":")[0] for text in dataset.manifest["track_descriptions"]])
        model = train(arguments.data.absolute(), work, arguments)
        split = dataset.split("test")
        truth = targets_of(split)
        tracks = {"network": pearson(predicted(work, split), truth), "ridge": ridge(dataset)}
        if arguments.trees:
            tracks["boosting"] = boosting(dataset, range(len(assays)), arguments.trees)
        found = {name: by_assay(values, assays) for name, values in tracks.items()}
        others = [name for name in found if name != "network"]
        wins = {assay: value >= max(found[name][assay] for name in others) for assay, value in found["network"].items()}
        result = {
            "benchmark": "basenji_real", "config": arguments.config, "set": arguments.set, "model": model,
            "and": None if arguments.further is None else str(arguments.further),
            "records": dict(dataset.splits),
            "tracks": {str(assay): int((assays == assay).sum()) for assay in dict.fromkeys(assays)},
            "pearson": found, "wins": wins,
            "tracks_above_baselines": round(float(np.mean(tracks["network"] >= best_of(tracks, others))), 3),
            "machine": machine(), "seconds": round(time.monotonic() - started),
        }  # fmt: skip
    print(json.dumps(result))


def best_of(tracks: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    """The best value of each track (K,) among some."""
    return np.nanmax(np.stack([tracks[name] for name in names]), axis=0)


if __name__ == "__main__":
    run_program(main)
