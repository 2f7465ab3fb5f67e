"""Two datasets in one run, by the unchanged loop: training, resuming, evaluation of each."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from jaxepi.errors import JaxepiError
from jaxepi.runs.evaluation import evaluate_run
from jaxepi.train.loop import train
from jaxepi.trained import restore_model

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def _records(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def _parameters(workdir):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(restore_model(workdir, "last").model))]


def test_two_datasets_train_together_and_go_on_with_the_same_bits(config, tmp_path):
    other = Path(shutil.copytree(config.dataset.path, tmp_path / "other"))
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"fingerprint": "another"}))
    config.dataset.paths = (config.dataset.path, str(other))
    config.optimizer.schedule, config.log_every, config.eval_every, config.save_every = "constant", 1, 0, 0
    config.eval_batches, config.report = 1, False
    config.steps = 3
    train(config, tmp_path / "whole")
    for config.steps in (2, 3):
        train(config, tmp_path / "parts")
    assert [line["step"] for line in _records(tmp_path / "parts", "resume")] == [2]
    losses = [[line["loss"] for line in _records(tmp_path / run, "train")] for run in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 3
    for ours, theirs in zip(_parameters(tmp_path / "parts"), _parameters(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    metrics = _records(tmp_path / "whole", "eval")[-1]["metrics"]
    shared = [name.removeprefix("dataset/") for name in metrics if name.startswith("dataset/")]
    assert shared and not set(shared) & metrics.keys()
    for name in shared:
        assert metrics[f"dataset/{name}"] == metrics[f"other/{name}"] == metrics[f"datasets_mean/{name}"], "a copy"
    results = evaluate_run(tmp_path / "whole", None, "valid", "last", report=False)
    assert results.keys() == {"valid_dataset", "valid_other"}
    assert (tmp_path / "whole" / "eval" / "valid_other" / "metrics.json").is_file()
    config.dataset.paths = (str(other), config.dataset.path)
    with pytest.raises(JaxepiError, match="was trained on another dataset"):
        train(config, tmp_path / "whole")
