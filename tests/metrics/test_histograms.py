"""Histogram AUC, precision-recall, reliability and density against exact computations."""

import jax
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from jaxepi.metrics.histograms import Calibration, Density, Histogram

CLASSES = [Histogram, Calibration, Density]


def values(shape=(5, 200, 3), seed=0):
    rng = np.random.default_rng(seed)
    target = rng.beta(0.5, 0.5, shape).astype(np.float32)
    prediction = np.clip(0.4 * target + 0.6 * rng.random(shape), 0, 1).astype(np.float32)
    mask = rng.random(shape) < 0.8
    return prediction, np.where(mask, target, np.nan).astype(np.float32), mask


@pytest.mark.parametrize("on_device", [False, True])
def test_auc_and_average_precision_are_within_a_bin_of_exact(on_device):
    prediction, target, mask = values()
    make = jax.jit(Histogram.from_values) if on_device else Histogram.from_values
    found = make(prediction, target, mask).finalize()
    for track in range(3):
        p, label = prediction[mask[..., track], track], target[mask[..., track], track] > 0.5
        assert found["auc"][track] == pytest.approx(sklearn_metrics.roc_auc_score(label, p), abs=2e-4)
        assert found["average_precision"][track] == pytest.approx(
            sklearn_metrics.average_precision_score(label, p), abs=5e-4
        )


def test_auc_is_exact_when_scores_lie_on_bins_and_ties_count_half():
    rng = np.random.default_rng(3)
    p, label = rng.integers(0, 9, 500) / 8, rng.random(500) < 0.4
    found = Histogram.from_values(p[:, None], label[:, None], bins=9).finalize()
    assert found["auc"][0] == pytest.approx(sklearn_metrics.roc_auc_score(label, p), abs=1e-14)
    assert found["average_precision"][0] == pytest.approx(sklearn_metrics.average_precision_score(label, p), abs=1e-14)


def test_published_bin_rule():
    counts = Histogram.from_values(np.array([[0.0], [0.5], [1.0]]), np.ones((3, 1))).counts
    assert counts.shape == (1, 2, 20480)
    assert np.flatnonzero(counts[0, 1]).tolist() == [0, 20479 // 2, 20479]


@pytest.mark.parametrize("metric", CLASSES)
def test_host_and_device_fill_the_same_bins(metric):
    prediction, target, mask = values()
    host, device = metric.from_values(prediction, target, mask), jax.jit(metric.from_values)(prediction, target, mask)
    for name in ("counts", "count"):
        if hasattr(host, name):
            np.testing.assert_array_equal(getattr(host, name), getattr(device, name))
    for left, right in zip(jax.tree.leaves(host), jax.tree.leaves(device), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-6)


def test_calibration_on_the_device_takes_any_number_of_axes():
    prediction, target, mask = values()
    expected = Calibration.from_values(prediction, target, mask)
    for shape in ((-1, 3), (5, 20, 10, 3)):
        found = jax.jit(Calibration.from_values)(*(v.reshape(shape) for v in (prediction, target, mask)))
        np.testing.assert_allclose(found.target_sum, expected.target_sum, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("metric", CLASSES)
def test_merging_equals_one_shot_and_pooling_equals_flat(metric):
    prediction, target, mask = values()
    whole = metric.from_values(prediction, target, mask)
    merged = metric.zero(3)
    for rows in ([4], [0, 2], [1, 3]):
        merged = merged.merge(jax.jit(metric.from_values)(prediction[rows], target[rows], mask[rows]))
    flat = metric.from_values(prediction.reshape(-1, 1), target.reshape(-1, 1), mask.reshape(-1, 1))
    for left, right in ((merged, whole), (whole.pooled(), flat)):
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_curves_end_in_the_corners_and_hold_the_auc():
    prediction, target, mask = values()
    histogram = Histogram.from_values(prediction, target, mask)
    curves = histogram.curves(points=2000)
    auc = np.trapezoid(curves["tpr"], curves["fpr"], axis=-1)
    np.testing.assert_allclose(auc, histogram.finalize()["auc"], atol=2e-3)
    for name in ("tpr", "fpr"):
        np.testing.assert_array_equal(curves[name][:, [0, -1]], [[0, 1]] * 3)
    share = [(target[mask[..., k], k] > 0.5).mean() for k in range(3)]
    np.testing.assert_allclose(curves["precision"][:, -1], share)
    assert np.isfinite(curves["precision"]).all()


def test_one_class_and_non_finite_are_nan_with_a_reason():
    prediction = np.array([[0.1, 0.1, 0.1, np.nan], [0.8, 0.8, 0.8, 0.2]])
    target = np.array([[0.9, 0.1, 0.1, 0.1], [0.7, 0.2, 0.9, 0.9]])
    histogram = Histogram.from_values(prediction, target)
    found, why = histogram.finalize(), histogram.reasons()
    assert np.isnan(found["auc"]).tolist() == [True, True, False, True]
    assert why["auc"] == [
        "only one class: no negative label",
        "only one class: no positive label",
        "",
        "a value is not finite",
    ]
    assert np.isnan(found["average_precision"]).tolist() == [False, True, False, True]
    curves = histogram.curves(points=4)
    assert np.isnan(curves["fpr"][0]).all() and np.isnan(curves["tpr"][1]).all()
    empty = Histogram.zero(1)
    assert np.isnan(empty.finalize()["auc"][0]) and empty.reasons()["auc"] == ["no value"]


def test_calibration_bins_hold_means_and_error():
    rng = np.random.default_rng(5)
    p, t = rng.random(4000), rng.random(4000)
    calibration = Calibration.from_values(p[:, None], t[:, None], bins=10)
    curve, error = calibration.curves(), 0.0
    for number in range(10):
        inside = (p >= number / 10) & (p < (number + 1) / 10)
        assert curve["count"][0, number] == inside.sum()
        assert curve["prediction"][0, number] == pytest.approx(p[inside].mean())
        assert curve["target"][0, number] == pytest.approx(t[inside].mean())
        error += abs(p[inside].mean() - t[inside].mean()) * inside.mean()
    assert calibration.finalize()["ece"][0] == pytest.approx(error)
    one = Calibration.from_values(np.array([[1.0]]), np.array([[0.5]]))
    assert one.count[0, -1] == 1 and np.isnan(one.curves()["target"][0, 0])
    assert Calibration.zero(1).reasons()["ece"] == ["no finite value"]


def test_density_is_a_two_dimensional_histogram():
    prediction, target, mask = values()
    density = Density.from_values(prediction, target, mask, bins=8)
    for track in range(3):
        keep = mask[..., track]
        p, t = prediction[keep, track], target[keep, track]
        grid, _, _ = np.histogram2d(p, t, bins=8, range=[[0, 1], [0, 1]])
        np.testing.assert_array_equal(density.counts[track], grid)
    wide = Density.from_values(np.array([[-5.0], [3.0]]), np.array([[0.0], [99.0]]), bins=4, low=-2, high=2)
    assert wide.counts[0, 0, 2] == 1 and wide.counts[0, 3, 3] == 1


@pytest.mark.parametrize("metric", CLASSES)
def test_no_rank_promotion_on_the_device(metric):
    prediction, target, mask = values((2, 5, 3))
    with jax.numpy_rank_promotion("raise"):
        jax.jit(lambda *v: metric.from_values(*v).merge(metric.from_values(*v)))(prediction, target, mask)
