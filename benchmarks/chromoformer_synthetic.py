"""Chromoformer on made-up genes whose expression depends on contacts, with and without the contacts; one JSON line.

    python benchmarks/chromoformer_synthetic.py [--genes 1200] [--seed 0] [--folds 1 2 3 4] [--epochs 12]

The genes are those of `python -m data_prep chromoformer-sample`, small enough for a laptop. Both models are trained by
launch.py on three folds with the same settings; one sees the contacts, the other (`config.task.max_pcres=0`) the
promoter alone. Numbers are ROC-AUC on the held-out fold after the last epoch, so nothing is chosen on it. `ceiling` is
what the exact rules reach with and without knowledge of the contacts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METRIC = "auc_gene_per_track_mean"
MODELS = {"with_contacts": 8, "promoter_only": 0}  # contacts that the model sees
SMALL = {
    "model.width": 32,
    "model.bin_sizes": "(2000, 500)",
    "model.embedding_hidden": 32,
    "model.pairwise_hidden": 64,
    "model.regulation_layers": 2,
    "model.regulation_heads": 4,
    "model.regulation_inner": 32,
    "model.regulation_hidden": 64,
    "model.head_width": 32,
    "task.more_pcres": "best",
    "batch_size": 32,
    "optimizer.learning_rate": 1e-3,
    "log_every": 50,
    "save_every": 0,
    "report": False,
}


def prepare(work: Path, genes: int, seed: int) -> dict[str, Any]:
    """Makes raw files and dataset below `work` by the command line; returns what ceiling.json holds."""
    command = [sys.executable, "-m", "data_prep", "chromoformer-sample", f"--genes={genes}", f"--seed={seed}"]
    subprocess.run([*command, f"--out={work}"], cwd=ROOT, check=True, stdout=sys.stderr)
    return json.loads((work / "raw" / "ceiling.json").read_text())


def train(work: Path, fold: int, contacts: int, epochs: int, more: list[str]) -> dict[str, float]:
    """Trains with one fold held out: its AUC after the last epoch, and minutes."""
    run = work / f"fold{fold}_contacts{contacts}"
    fields = SMALL | {"dataset.path": work / "dataset", "task.max_pcres": contacts, "steps": epochs}
    command = [sys.executable, "launch.py", f"--config=configs/chromoformer_clf.py:fold{fold}", f"--workdir={run}"]
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    subprocess.run([*command, *words, *more], cwd=ROOT, check=True, stdout=sys.stderr)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    last = [line for line in log if line["kind"] == "eval"][-1]
    return {"auc": last["metrics"][METRIC], "minutes": [line for line in log if line["kind"] == "end"][-1]["minutes"]}


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0, help="of the made-up genes")
    parser.add_argument("--folds", type=int, nargs="+", choices=(1, 2, 3, 4), default=[1], help="held out, one by one")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--set-field", nargs="*", default=[], help="further --config.x=y for launch.py")
    parser.add_argument("--work", type=Path, help="folder for the files and the runs; default: a temporary one")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).absolute()
        best = prepare(work, arguments.genes, arguments.seed)["folds"]
        result: dict[str, Any] = {"benchmark": "chromoformer_synthetic", "genes": arguments.genes, "metric": METRIC}
        runs = {
            name: [train(work, fold, contacts, arguments.epochs, arguments.set_field) for fold in arguments.folds]
            for name, contacts in MODELS.items()
        }
    for name, own in runs.items():
        result[name] = {"auc": mean([run["auc"] for run in own]), "per_fold": [round(run["auc"], 4) for run in own]}
    gain = result["with_contacts"]["auc"] - result["promoter_only"]["auc"]
    ceiling = {name: mean([best[f"fold{fold}"][f"auc_{name}"] for fold in arguments.folds]) for name in MODELS}
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
    main()
