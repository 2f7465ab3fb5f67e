"""The standard set, its summary's names, and merging over processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxepi.metrics import standard as metrics

TWO_PROCESSES = """
import sys, jax, numpy as np
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from jaxepi.metrics import standard as metrics
assert jax.process_count() == 2
rng = np.random.default_rng(0)
prediction, target = rng.random((6, 10, 2)), rng.random((6, 10, 2))
rows = slice(0, 4) if jax.process_index() == 0 else slice(4, 6)
mine = metrics.standard_metrics(prediction[rows], target[rows])
mine["cpg/classes"] = metrics.ClassificationSums(*(np.array([2**40 + 1] * 2),) * 4, np.zeros(2), np.zeros(2))
together = metrics.merge_across_hosts(mine)
right = metrics.standard_metrics(prediction, target)
assert together["cpg/classes"].count[0] == 2**41 + 2
del together["cpg/classes"], right["cpg/classes"]
for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(right), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
"""


def values(seed=0, shape=(4, 60, 3)):
    rng = np.random.default_rng(seed)
    target = rng.random(shape)
    return np.clip(target + rng.normal(0, 0.2, shape), 0, 1), target, rng.random(shape) < 0.9


def test_names_carry_value_region_and_reduction():
    summary = metrics.summarize(metrics.standard_metrics(*values(), region="island"))
    for value in ("pearson", "mae", "mse", "accuracy", "auc", "average_precision", "r2", "ece", "mcc", "f1"):
        for reduction in ("per_track_mean", "per_track_sd", "n_tracks", "flat"):
            assert f"{value}_island_{reduction}" in summary
    assert summary["n_values_island_total"] == values()[2].sum()
    assert summary["pearson_island_per_track_mean"] == pytest.approx(np.mean(summary["per_track"]["pearson_island"]))
    assert summary["undefined"] == {}


def counts(seed=0, shape=(6, 40, 3)):
    """Values of several decades, with a prediction that is right but for a factor."""
    rng = np.random.default_rng(seed)
    target = rng.gamma(0.3, np.array([1.0, 30.0, 900.0]), shape)
    return 0.8 * target + rng.gamma(0.3, 5.0, shape), target, rng.random(shape) < 0.8


def test_counts_have_errors_and_correlations_of_any_range_and_no_classes():
    prediction, target, mask = counts()
    summed = None
    for row in range(0, 6, 2):
        part = jax.jit(metrics.regression_metrics)(*(x[row : row + 2] for x in (prediction, target, mask)))
        summed = metrics.merge_metrics(summed, {name: metric.to_host() for name, metric in part.items()})
    found = metrics.summarize(summed)
    for track in range(3):
        p, t = (x[mask[..., track], track] for x in (prediction, target))
        want = {
            "pearson": np.corrcoef(p, t)[0, 1],
            "r2": 1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(),
            "mse": ((p - t) ** 2).mean(),
            "mean_prediction": p.mean(),
            "mean_target": t.mean(),
            "n_values": len(p),
        }
        for name, value in want.items():
            assert found["per_track"][f"{name}_bin"][track] == pytest.approx(value, rel=1e-5), name
    p, t = prediction[mask], target[mask]
    assert found["pearson_bin_flat"] == pytest.approx(np.corrcoef(p, t)[0, 1], rel=1e-5)
    assert found["r2_bin_flat"] == pytest.approx(1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(), rel=1e-5)
    assert not any(name.startswith(("auc", "accuracy", "ece")) for name in found)


def test_metrics_of_counts_keep_a_few_numbers_a_track():
    values = jax.ShapeDtypeStruct((4, 896, 5313), "float32")
    sums = jax.eval_shape(metrics.regression_metrics, values, values, values)
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(sums)) < 20 * 5313


def test_tracks_without_value_are_left_out_and_counted():
    prediction, target, mask = values()
    mask[..., 1] = False
    summary = metrics.summarize(metrics.standard_metrics(prediction, target, mask))
    pearson = summary["per_track"]["pearson_cpg"]
    assert np.isnan(pearson[1]) and summary["pearson_cpg_n_tracks"] == 2
    assert summary["pearson_cpg_per_track_mean"] == pytest.approx((pearson[0] + pearson[2]) / 2)
    assert summary["undefined"]["pearson_cpg"] == {1: "fewer than two values"}


def test_nothing_defined_gives_nan_and_zero_tracks():
    prediction, target, _ = values()
    summary = metrics.summarize(metrics.standard_metrics(prediction, target, np.zeros((1, 1, 1))))
    assert np.isnan(summary["auc_cpg_per_track_mean"]) and summary["auc_cpg_n_tracks"] == 0
    assert np.isnan(summary["auc_cpg_flat"]) and summary["n_values_cpg_total"] == 0


def test_flat_and_per_track_mean_are_different_numbers():
    prediction, target, mask = values()
    target = 0.2 * target + np.array([0.0, 0.4, 0.8])
    prediction = 0.2 * prediction + np.array([0.8, 0.4, 0.0])
    summary = metrics.summarize(metrics.standard_metrics(prediction, target, mask))
    assert summary["pearson_cpg_per_track_mean"] > 0.7 > 0 > summary["pearson_cpg_flat"]


def test_dictionaries_merge_by_name():
    prediction, target, mask = values()
    merged = None
    for row in range(4):
        new = jax.jit(metrics.standard_metrics)(prediction[row], target[row], mask[row])
        merged = metrics.merge_metrics(merged, new)
    whole = metrics.summarize(metrics.standard_metrics(prediction, target, mask))
    found = metrics.summarize(metrics.merge_across_hosts(merged))
    for name, value in whole.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=2e-6, abs=1e-7), name
    with pytest.raises(ValueError, match="cannot merge metrics named"):
        metrics.merge_metrics({"cpg/other": merged["cpg/pearson"]}, merged)


def test_two_processes_merge_without_losing_digits():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(metrics.__file__).parents[2])}
    command = [sys.executable, "-c", TWO_PROCESSES, address]
    runs = [subprocess.Popen([*command, str(i)], env=environment, stderr=subprocess.PIPE, text=True) for i in range(2)]
    errors = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
