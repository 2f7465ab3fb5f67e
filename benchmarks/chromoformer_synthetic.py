"""Chromoformer on made-up genes whose expression depends on contacts, with and without the contacts; one JSON line.

    python benchmarks/chromoformer_synthetic.py [--genes 1200] [--seed 0] [--folds 1 2] [--epochs 12]

The genes are those of `python -m data_prep chromoformer-sample`, small enough for a laptop. Both models are those of
`configs/chromoformer_clf.py:sample`, trained by launch.py with the same settings; one sees the contacts, the other
(`config.task.max_pcres=0`) the promoter alone. Numbers are ROC-AUC on the held-out fold after the last epoch, nothing
is chosen on it. `ceiling` is what the exact rules reach with and without knowledge of the contacts.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import run_program, work_folder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
METRIC = "auc_gene_per_track_mean"
MODELS = {"with_contacts": 8, "promoter_only": 0}  # contacts that the model sees


def prepare(work: Path, genes: int, seed: int) -> dict[str, Any]:
    """Makes raw files and dataset below `work` by the command line; returns what ceiling.json holds."""
    command = [sys.executable, "-m", "data_prep", "chromoformer-sample", f"--genes={genes}", f"--seed={seed}"]
    subprocess.run([*command, f"--out={work}"], cwd=ROOT, check=True, stdout=sys.stderr)
    return json.loads((work / "raw" / "ceiling.json").read_text())


def train(work: Path, folds: list[str], contacts: int, epochs: int, more: list[str]) -> list[dict[str, float]]:
    """Trains with each fold held out: its AUC after the last epoch, and minutes."""
    run = work / f"contacts{contacts}"
    command = [sys.executable, "launch.py", "crossval", "--config=configs/chromoformer_clf.py:sample"]
    command += [f"--workdir={run}", f"--folds={','.join(folds)}"]
    fields = {"dataset.path": work / "dataset", "task.max_pcres": contacts, "steps": epochs, "report": False}
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    subprocess.run([*command, *words, *more], cwd=ROOT, check=True, stdout=sys.stderr)
    per_fold = json.loads((run / "crossval.json").read_text())["metrics"][METRIC]["folds"]
    return [{"auc": per_fold[fold], "minutes": minutes(run / fold)} for fold in folds]


def minutes(run: Path) -> float:
    """Training time of a run."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "end"][-1]["minutes"]


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0, help="of the made-up genes")
    parser.add_argument(
        "--folds", type=int, nargs="+", choices=(1, 2, 3, 4), default=[1, 2, 3, 4], help="held out, one by one"
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--set-field", nargs="*", default=[], help="further --config.x=y for launch.py")
    parser.add_argument("--work", type=Path, help="folder for the files and the runs; default: a temporary one")
    arguments = parser.parse_args()
    started, folds = time.monotonic(), [f"fold{fold}" for fold in arguments.folds]
    with work_folder(arguments.work) as work:
        best = prepare(work, arguments.genes, arguments.seed)["folds"]
        result: dict[str, Any] = {"benchmark": "chromoformer_synthetic", "genes": arguments.genes, "metric": METRIC}
        runs = {
            name: train(work, folds, contacts, arguments.epochs, arguments.set_field)
            for name, contacts in MODELS.items()
        }
    for name, own in runs.items():
        result[name] = {"auc": mean([run["auc"] for run in own]), "per_fold": [round(run["auc"], 4) for run in own]}
    gain = result["with_contacts"]["auc"] - result["promoter_only"]["auc"]
    ceiling = {name: mean([best[fold][f"auc_{name}"] for fold in folds]) for name in MODELS}
    result |= {
        "gain": round(gain, 4),
        "contacts_win": gain > 0,
        "ceiling": ceiling,
        "folds": arguments.folds,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "training_minutes": round(sum(run["minutes"] for own in runs.values() for run in own), 2),
        "cpus": os.cpu_count(),
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    run_program(main)
