"""Sums on the host and in jit against NumPy's own formulas, merging, and undefined values."""

import jax
import numpy as np
import pytest
from scipy import stats

from jaxepi.metrics.base import sum_tracks
from jaxepi.metrics.sums import ClassificationSums, ErrorSums, MeanSums, PearsonSums

CLASSES = [PearsonSums, ErrorSums, ClassificationSums]


def values(shape=(6, 150, 4), seed=0, offset=0.0):
    """Correlated prediction and target in [0, 1] (+ offset) and a mask; the target is NaN where masked out."""
    rng = np.random.default_rng(seed)
    target = rng.beta(0.5, 0.5, shape).astype(np.float32) + np.float32(offset)
    prediction = (0.6 * target + 0.4 * rng.random(shape) + 0.1 * offset).astype(np.float32)
    mask = rng.random(shape) < 0.7
    return prediction, np.where(mask, target, np.nan).astype(np.float32), mask


def expected(prediction, target, mask):
    p, t = prediction[mask].astype(np.float64), target[mask].astype(np.float64)
    label, call = t > 0.5, p > 0.5
    tp, fp, fn, tn = (label & call).sum(), (~label & call).sum(), (label & ~call).sum(), (~label & ~call).sum()
    return {
        "pearson": np.corrcoef(p, t)[0, 1],
        "mae": np.abs(p - t).mean(),
        "mse": ((p - t) ** 2).mean(),
        "bias": (p - t).mean(),
        "r2": 1 - ((p - t) ** 2).sum() / ((t - t.mean()) ** 2).sum(),
        "accuracy": (label == call).mean(),
        "tpr": tp / (tp + fn),
        "tnr": tn / (tn + fp),
        "precision": tp / (tp + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "mcc": np.corrcoef(label, call)[0, 1],
        "mean_prediction": p.mean(),
        "mean_target": t.mean(),
    }


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("metric", CLASSES)
def test_values_match_formulas(metric, on_device):
    prediction, target, mask = values()
    make = jax.jit(metric.from_values) if on_device else metric.from_values
    found = make(prediction, target, mask).finalize()
    for track in range(4):
        right = expected(prediction[..., track], target[..., track], mask[..., track])
        for name, value in found.items():
            assert value[track] == pytest.approx(right[name], rel=1e-6 if on_device else 1e-12, abs=1e-7), name


def test_correlation_survives_a_large_offset_in_float32():
    prediction, target, mask = values(offset=300.0)
    found = jax.jit(PearsonSums.from_values)(prediction, target, mask).finalize()["pearson"]
    for track in range(4):
        keep = mask[..., track]
        right = stats.pearsonr(prediction[keep, track].astype(float), target[keep, track].astype(float))[0]
        assert found[track] == pytest.approx(right, abs=2e-6)


@pytest.mark.parametrize("shape", [(32, 2400, 3), (1_000_000, 1)])
def test_long_sums_in_float32_stay_near_one_rounding(shape):
    data = np.random.default_rng(1).random(shape).astype(np.float32)
    exact = data.astype(np.float64).reshape(-1, shape[-1]).sum(axis=0)
    np.testing.assert_allclose(np.asarray(jax.jit(sum_tracks)(data)), exact, rtol=1e-6)


@pytest.mark.parametrize("metric", CLASSES)
def test_merging_batches_in_any_order_equals_one_shot(metric):
    prediction, target, mask = values()
    whole = metric.from_values(prediction, target, mask).finalize()
    order = np.random.default_rng(2).permutation(6)
    merged = metric.zero(4)
    for rows in np.split(order, [1, 2, 5]):
        merged = merged.merge(metric.from_values(prediction[rows], target[rows], mask[rows]))
    for name, value in merged.finalize().items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-11)


@pytest.mark.parametrize("metric", CLASSES)
def test_merge_on_device_and_of_device_with_host(metric):
    prediction, target, mask = values()
    make = jax.jit(metric.from_values)
    first, second = (make(prediction[rows], target[rows], mask[rows]) for rows in (slice(0, 2), slice(2, 6)))
    whole = metric.from_values(prediction, target, mask).finalize()
    both = jax.jit(lambda a, b: a.merge(b))(first, second)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(both))
    mixed = first.to_host().merge(second)
    assert {leaf.dtype for leaf in jax.tree.leaves(mixed)} <= {np.dtype(np.float64), np.dtype(np.int64)}
    for name, value in whole.items():
        np.testing.assert_allclose(both.finalize()[name], value, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(mixed.finalize()[name], value, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("metric", CLASSES)
def test_pooled_takes_all_tracks_as_one(metric):
    prediction, target, mask = values()
    flat = metric.from_values(prediction.reshape(-1, 1), target.reshape(-1, 1), mask.reshape(-1, 1)).finalize()
    for name, value in metric.from_values(prediction, target, mask).pooled().finalize().items():
        np.testing.assert_allclose(value, flat[name], rtol=1e-11)


def test_int64_on_the_host_counts_beyond_int32():
    metric = ClassificationSums.from_values(*(np.ones((5, 1)),) * 2)
    for _ in range(30):
        metric = metric.merge(metric)
    assert metric.count[0] == 5 * 2**30


@pytest.mark.parametrize("on_device", [False, True])
def test_undefined_is_nan_with_a_reason(on_device):
    def run(metric, prediction, target, mask):
        make = jax.jit(metric.from_values) if on_device else metric.from_values
        arrays = (np.array(prediction, np.float32), np.array(target, np.float32), np.array(mask, bool))
        result = make(*arrays)
        return result.finalize(), result.reasons()

    # Tracks: no value, one value, constant target, constant prediction, a prediction that is not finite, a good one.
    prediction = [[0.1, 0.1, 0.1, 0.3, np.nan, 0.1], [0.2, 0.2, 0.9, 0.3, 0.2, 0.9], [0.3, 0.3, 0.4, 0.3, 0.7, 0.4]]
    target = [[0.1, 0.1, 0.7, 0.1, 0.1, 0.1], [0.2, np.nan, 0.7, 0.9, 0.6, 0.8], [0.3, np.nan, 0.7, 0.2, 0.9, 0.6]]
    mask = [[0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]]
    found, why = run(PearsonSums, prediction, target, mask)
    assert np.isnan(found["pearson"]).tolist() == [True] * 5 + [False]
    texts = ["fewer than two values"] * 2 + ["the target is constant", "the prediction is constant"]
    assert why["pearson"] == [*texts, "a value is not finite", ""]
    found, why = run(ErrorSums, prediction, target, mask)
    assert np.isnan(found["mae"]).tolist() == [True, False, False, False, True, False]
    assert why["mae"] == ["no value", "", "", "", "a value is not finite", ""]
    assert why["r2"][2] == "the target is constant" and np.isnan(found["r2"][2])
    found, why = run(ClassificationSums, prediction, target, mask)
    assert np.isnan(found["accuracy"]).tolist() == [True, False, False, False, True, False]
    assert np.isnan(found["tnr"][2]) and why["tnr"][2] == "no negative label"
    assert np.isnan(found["mcc"][2]) and why["mcc"][2] == "only one class"
    for name, value in found.items():
        assert [bool(text) for text in why[name]] == np.isnan(value).tolist(), name


def test_label_at_the_threshold_follows_the_convention():
    prediction, target = np.array([[0.9], [0.1]]), np.array([[0.5], [0.2]])
    assert ClassificationSums.from_values(prediction, target).positive[0] == 0
    assert ClassificationSums.from_values(prediction, target, label_inclusive=True).positive[0] == 1


def test_metrics_of_different_kinds_do_not_merge():
    ones = np.ones((2, 1))
    left = ClassificationSums.from_values(ones, ones, threshold=0.5)
    with pytest.raises(ValueError, match="different kinds.*threshold=0.5.*threshold=0.4"):
        left.merge(ClassificationSums.from_values(ones, ones, threshold=0.4))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3, 1\)"):
        PearsonSums.from_values(np.ones((3, 2)), np.ones((3, 1)))


@pytest.mark.parametrize("metric", CLASSES)
def test_no_rank_promotion_on_the_device(metric):
    prediction, target, mask = values((2, 5, 3))
    with jax.numpy_rank_promotion("raise"):
        jax.jit(lambda *v: metric.from_values(*v).merge(metric.from_values(*v)))(prediction, target, mask)


@pytest.mark.parametrize("on_device", [False, True])
def test_mean_of_any_value_under_its_name(on_device):
    data, _, mask = values()
    convert = jax.numpy.asarray if on_device else np.asarray
    parts = [MeanSums.from_values(convert(data[i : i + 2]), convert(mask[i : i + 2]), name="loss") for i in (0, 2, 4)]
    merged = MeanSums.zero(4, "loss").merge(parts[0]).merge(parts[1]).merge(parts[2])
    expected_means = [data[..., k][mask[..., k]].mean(dtype=np.float64) for k in range(4)]
    np.testing.assert_allclose(merged.finalize()["loss"], expected_means, rtol=1e-6)
    empty = MeanSums.zero(2, "loss")
    assert np.isnan(empty.finalize()["loss"]).all() and empty.reasons() == {"loss": ["no value"] * 2}
