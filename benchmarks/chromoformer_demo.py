"""Chromoformer on the original's 100 demo genes, prepared, trained and evaluated from end to end; one JSON line.

    python benchmarks/chromoformer_demo.py [--target label|expression] [--small] [--work FOLDER]

The genes (H1 cells, E003, hg19) lie on chr1, 5, 6, 8, 14 and Y, all in split 1 of the original, so its released
model of fold 1 has seen none of them. Here they are dealt out to four folds by chromosome and cross-validated by
`launch.py crossval`: each fold is predicted by a network trained from scratch on the other 66 to 81 genes, with
the weights of the last epoch, so that nothing is chosen on held-out genes. `:modern` settings, 30 epochs in batches of
16; `--small` takes the narrow network and the learning rate of `:sample`.

Beside it stand regressions on the mean depth around the start site, fitted on the same folds; the original's released
models on the same genes, trained on all genes of the three other splits (for orientation: they learned from two hundred
times as many); and, where torch is installed, how far predictions of the untrained network (seed 123) are from those
that the original publishes. A hundred genes say little: `auc_95` or `pearson_95` is the 95 % interval over 2,000 draws
of genes with replacement.
"""

import argparse
import csv
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
from jaxepi.metrics import exact  # noqa: E402

FOLDS = ("1=chr1", "2=chr6", "3=chr5", "4=chr8,chr14,chrY")
SPLITS = ("fold1", "fold2", "fold3", "fold4")
KINDS = {"label": "clf", "expression": "reg"}
METRICS = {"label": ("auc", "average_precision", "accuracy"), "expression": ("pearson", "spearman", "r2")}
REACHES = {"2kb": (1000,), "2kb_and_40kb": (1000, 20_000)}  # bp to each side of the start site
DRAWS = 2000
OFFICIAL = {"label": "clf_E003_fold1_prob", "expression": "reg_E003_fold1_log2rpkm"}  # columns of demo_predictions.csv
UNTRAINED = "clf_untrained_seed123_prob"


def prepare(data: Path, work: Path) -> tuple[Path, float]:
    """The dataset by data_prep, and seconds."""
    command = [
        sys.executable, "-m", "data_prep", "chromoformer", "--metadata", str(data / "demo_meta.csv"),
        "--npy-dir", str(data / "demo_regions.npz"), "--chrom-sizes", str(data / "hg19.fa.sizes"),
        "--folds", *FOLDS, "--out", str(work / "dataset"), "--no-progress",
    ]  # fmt: skip
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    return work / "dataset", time.monotonic() - started


def train(work: Path, target: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Cross-validation by launch.py: its summary, and minutes of training."""
    run, variant = work / KINDS[target], "sample" if arguments.small else "modern"
    command = [
        sys.executable, "launch.py", "crossval", f"--config=configs/chromoformer_{KINDS[target]}.py:{variant}",
        f"--workdir={run}", f"--config.dataset.path={work / 'dataset'}", "--config.batch_size=16",
        f"--config.steps={arguments.epochs}", "--config.eval_every=0", "--config.save_every=0",
    ]  # fmt: skip
    changes = [f"--config.{change}" for change in arguments.set]
    subprocess.run([*command, *changes], cwd=ROOT, check=True, stdout=sys.stderr)
    summary = json.loads((run / "crossval.json").read_text())
    ends = [json.loads((run / fold / "log.jsonl").read_text().splitlines()[-1]) for fold in SPLITS]
    return summary | {"minutes": sum(end["minutes"] for end in ends)}


def held_out(work: Path, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and measured values of all genes, each by the network that did not see its fold."""
    parts = []
    for fold in SPLITS:
        with np.load(work / KINDS[target] / fold / "eval" / fold / "plots_data.npz") as arrays:
            parts.append((arrays["sample:prediction"][:, 0], arrays["sample:target"][:, 0]))
    prediction, measured = (np.concatenate(column) for column in zip(*parts, strict=True))
    return prediction, measured


def features(record: dict[str, Any], reaches: tuple[int, ...], resolution: int) -> np.ndarray:
    """log(1 + mean depth) of every mark within each reach of the start site."""
    sums = np.asarray(record["promoter_sum"], np.float64)
    middle = len(sums) // 2
    spans = [reach // resolution for reach in reaches]
    return np.concatenate([np.log1p(sums[middle - n : middle + n].sum(axis=0) / (2 * n * resolution)) for n in spans])


def baselines(path: Path, target: str) -> dict[str, Any]:
    """Regressions on the marks at the promoter, and H3K4me3 and H3K27ac by themselves, on the same folds."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    dataset = open_dataset(path)
    resolution, marks = dataset.manifest["resolution"], dataset.manifest["marks"]
    records = {fold: list(dataset.split(fold)) for fold in SPLITS}
    truth = {fold: np.array([_truth(record, target) for record in own]) for fold, own in records.items()}
    found = {}
    for name, reaches in REACHES.items():
        x = {fold: np.stack([features(r, reaches, resolution) for r in own]) for fold, own in records.items()}
        guesses = {}
        for fold in SPLITS:
            others = [other for other in SPLITS if other != fold]
            seen, y = np.concatenate([x[other] for other in others]), np.concatenate([truth[o] for o in others])
            if target == "label":
                model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(seen, y > 0.5)
                guesses[fold] = model.predict_proba(x[fold])[:, 1]
            else:
                guesses[fold] = make_pipeline(StandardScaler(), Ridge(1.0)).fit(seen, y).predict(x[fold])
        found[f"{'logistic' if target == 'label' else 'ridge'}_{name}"] = over_folds(guesses, truth, target)
        if len(reaches) == 1:  # no fitting: the depth itself ranks the genes
            for mark in ("H3K4me3", "H3K27ac"):
                depth = {fold: own[:, marks.index(mark)] for fold, own in x.items()}
                rank = METRICS[target][0] if target == "label" else "spearman"
                found[f"{mark}_{name}"] = {rank: over_folds(depth, truth, target)[rank]}
    return found


def _truth(record: dict[str, Any], target: str) -> float:
    return float(record["label"]) if target == "label" else float(np.log2(record["expression"] + 1))


def over_folds(guesses: dict[str, np.ndarray], truth: dict[str, np.ndarray], target: str) -> dict[str, Any]:
    """Each metric per fold, as mean and sd, and over all genes."""
    every = np.concatenate(list(guesses.values())), np.concatenate(list(truth.values()))
    result: dict[str, Any] = {}
    for metric in METRICS[target]:
        values = [value_of(metric, guesses[fold], truth[fold]) for fold in guesses]
        result[metric] = entry(values, float(np.nanmean(values)), float(np.nanstd(values, ddof=1)),
                               value_of(metric, *every))  # fmt: skip
    return result | interval(*every, METRICS[target][0])


def entry(values: list[float], mean: float, sd: float, together: float) -> dict[str, Any]:
    """What the JSON line says of one metric."""
    return {"mean": _short(mean), "sd": _short(sd), "all_genes": _short(together), "folds": list(map(_short, values))}


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)


def value_of(metric: str, guess: np.ndarray, truth: np.ndarray) -> float:
    """One metric of all values at once, in float64."""
    if metric in ("auc", "average_precision"):
        return getattr(exact, metric)(guess, truth > 0.5)
    if metric == "accuracy":
        return float(np.mean((guess > 0.5) == (truth > 0.5)))
    if metric == "r2":
        return float(1 - np.mean((guess - truth) ** 2) / np.var(truth))
    return getattr(exact, metric)(guess, truth)


def interval(guess: np.ndarray, truth: np.ndarray, metric: str) -> dict[str, list[float]]:
    """The 95 % interval of a metric over draws of genes with replacement."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(guess), (DRAWS, len(guess)))
    values = [value_of(metric, guess[draw], truth[draw]) for draw in draws]
    return {f"{metric}_95": [_short(value) for value in np.nanquantile(values, [0.025, 0.975])]}


def published(data: Path, target: str) -> dict[str, Any]:
    """The original's released model of fold 1 on the same genes, from its own table of predictions."""
    with (data / "demo_predictions.csv").open() as file:
        guess = {row["gene_id"]: float(row[OFFICIAL[target]]) for row in csv.DictReader(file)}
    with (data / "demo_meta.csv").open() as file:
        rows = {row["gene_id"]: row for row in csv.DictReader(file)}
    truth = np.array([
        float(row["label"]) if target == "label" else np.log2(float(row["expression"]) + 1) for row in rows.values()
    ])  # fmt: skip
    values = np.array([guess[gene] for gene in rows])
    own = {metric: _short(value_of(metric, values, truth)) for metric in METRICS[target]}
    return own | interval(values, truth, METRICS[target][0])


def parity(path: Path, data: Path) -> dict[str, Any] | None:
    """Largest distance of the untrained network's predictions from those the original publishes; None without torch."""
    try:
        from torch_chromoformer import seeded_weights
    except ImportError:
        return None
    import jax
    from flax import nnx
    from workload import read_config

    import jaxepi
    from jaxepi.pretrained.table import original_shapes
    from jaxepi.registry import make_task
    from jaxepi.systems.chromoformer import SYSTEM
    from jaxepi.systems.chromoformer.model import ChromoformerConfig

    dataset = open_dataset(path)
    config = read_config(str(ROOT / "configs" / "chromoformer_clf.py"))
    config.task.probability = "sigmoid"
    task = make_task(config, dataset.manifest)
    shapes = original_shapes(SYSTEM.abstract(ChromoformerConfig()), SYSTEM.weights.table(ChromoformerConfig()))
    model = jaxepi.from_pretrained("chromoformer", seeded_weights(shapes, 2), empty_rows="uniform")

    @nnx.jit
    def predict(model: nnx.Module, batch: dict[str, Any]) -> jax.Array:
        inputs, targets = task.prepare(batch, jax.random.key(0), False)
        return task.predictions(task.apply(model, inputs), targets)["prediction"][:, 0, 0]

    records = list(dataset.split("+".join(SPLITS)))
    parts = [predict(model, task.collate(records[i : i + 25])) for i in range(0, len(records), 25)]
    with (data / "demo_predictions.csv").open() as file:
        expected = {row["gene_id"]: float(row[UNTRAINED]) for row in csv.DictReader(file)}
    distance = np.abs(np.concatenate(parts) - np.array([expected[record["key"]] for record in records]))
    return {"genes": len(records), "largest_difference": float(f"{distance.max():.2g}")}


def measure(data: Path, work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything about one target."""
    target = arguments.target
    dataset, seconds = prepare(data, work)
    summary = train(work, target, arguments)
    model = {}
    for metric in METRICS[target]:
        found = summary["metrics"][f"{metric}_gene_per_track_mean"]
        model[metric] = entry(list(found["folds"].values()), found["mean"], found["sd"], found["out_of_fold"])
    model |= interval(*held_out(work, target), METRICS[target][0])
    return {
        "benchmark": "chromoformer_demo",
        "target": target,
        "genes": {fold: found["records"] for fold, found in summary["folds"].items()},
        "folds": FOLDS,
        "epochs": arguments.epochs,
        "small": arguments.small,
        "set": arguments.set,
        "chromoformer": model,
        "baselines": baselines(dataset, target),
        "original_trained_on_other_splits": published(data, target),
        "untrained_seed123": parity(dataset, data),
        "prepare_seconds": round(seconds, 1),
        "training_minutes": round(summary["minutes"], 2),
        "cpus": os.cpu_count(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=sorted(KINDS), default="label", help="high or low, or log2(RPKM + 1)")
    parser.add_argument("--small", action="store_true", help="a narrow network with two bin sizes")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "chromoformer", help="folder of the demo files"
    )
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="such as model.width=32")
    parser.add_argument("--work", type=Path, help="folder for the dataset and the runs; default: a temporary one")
    arguments = parser.parse_args()
    if not (arguments.data / "demo_regions.npz").is_file():
        raise SystemExit(f"error: there are no demo genes in {arguments.data}; give their place with --data")
    with work_folder(arguments.work) as work:
        started = time.monotonic()
        result = measure(arguments.data, work, arguments)
        print(json.dumps(result | {"seconds": round(time.monotonic() - started)}))


if __name__ == "__main__":
    run_program(main)
