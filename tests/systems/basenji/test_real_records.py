"""Real records of two genomes in the original's layout train as they are, one by one and jointly."""

import json
from pathlib import Path

import numpy as np
import pytest

from configs.basenji2 import HEAD, get_config
from jaxepi.data import open_dataset
from jaxepi.train.loop import train

REAL = Path(__file__).parents[4] / "shared" / "data" / "real" / "basenji_tiny"
TRUNK = (
    {"name": "conv_block", "filters": 4, "kernel_size": 5, "pool_size": 16},
    {"name": "conv_block", "filters": 8, "kernel_size": 3, "pool_size": 2},
    {"name": "Cropping1D", "cropping": 1},
    {"name": "conv_block", "filters": 8},
)


@pytest.mark.skipif(not REAL.is_dir(), reason="the records are not here")
@pytest.mark.parametrize("names", [
    pytest.param(("hg38",), marks=pytest.mark.slow), pytest.param(("mm10",), marks=pytest.mark.slow),
    ("hg38", "mm10"),
])  # fmt: skip
def test_a_tiny_network_trains_on_real_records(names, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = get_config("real")
    config.dataset.paths = tuple(str(REAL / name) for name in names)
    config.model.trunk, config.model.heads, config.model.head_names = TRUNK, (HEAD,) * len(names), names
    config.task.context, config.task.train_bins = 32, 64
    config.steps, config.eval_batches, config.report = 4, 1, False
    config.optimizer.warmup_steps = 1
    if len(names) > 1:
        config.monitor = ",".join(f"pearson_bin_per_track_mean@{name}" for name in names)
    assert train(config, tmp_path / "run") == "finished"
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    metrics = [line for line in log if line["kind"] == "eval"][-1]["metrics"]
    for name in names:
        ending = f"@{name}" if len(names) > 1 else ""
        tracks = len(open_dataset(REAL / name).manifest["tracks"])
        assert metrics[f"spearman_bin_n_tracks{ending}"] + metrics[f"pearson_bin_n_tracks{ending}"] > tracks
        assert metrics[f"n_values_bin_total{ending}"] == 2_048 * tracks
        assert np.isfinite(metrics[f"loss_total{ending}"])
