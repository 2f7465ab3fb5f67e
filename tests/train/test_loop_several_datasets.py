"""Two datasets in one run, by the unchanged loop: training, resuming, evaluation of each."""

import json
import shutil
from pathlib import Path

import numpy as np

from jaxepi.runs.evaluation import evaluate_run
from jaxepi.train.loop import train


def _records(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_two_datasets_are_trained_together_resumed_and_evaluated_one_by_one(toy, tmp_path):
    other = Path(shutil.copytree(toy.dataset.path, tmp_path / "other"))
    manifest = json.loads((other / "manifest.json").read_text())
    del manifest["checksum"]
    (other / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "another"}))
    toy.dataset.paths = (toy.dataset.path, str(other))
    toy.save_every, toy.eval_batches = 0, 1
    for toy.steps in (2, 3):
        train(toy, tmp_path / "run")
    assert [line["step"] for line in _records(tmp_path / "run", "resume")] == [2]
    losses = [line["loss"] for line in _records(tmp_path / "run", "train")]
    assert len(losses) == 3 and np.isfinite(losses).all()
    metrics = _records(tmp_path / "run", "eval")[-1]["metrics"]
    shared = [name.removesuffix("@dataset") for name in metrics if name.endswith("@dataset")]
    assert shared and not set(shared) & metrics.keys()
    for name in shared:
        assert metrics[f"{name}@dataset"] == metrics[f"{name}@other"] == metrics[f"{name}@datasets_mean"], "a copy"
    results = evaluate_run(tmp_path / "run", None, "valid", "last", report=False)
    assert results.keys() == {"valid_dataset", "valid_other"}
    assert (tmp_path / "run" / "eval" / "valid_other" / "metrics.json").is_file()
