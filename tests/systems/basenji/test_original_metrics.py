"""Every metric of the golden file, in the original's form and in the project's exact one."""

import numpy as np
import pytest
from scipy import stats

from jaxepi.metrics.sums import ErrorSums, PearsonSums
from jaxepi.systems.basenji.original_metrics import ThresholdCounts, TrackSums, peak_scores, q_values

TOLERANCE = {"rtol": 2e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def file(golden):
    return golden("basenji", "losses_metrics.npz")


def batches(file, kind="y"):
    return [(file[f"in:{kind}_true_batch{i}"], file[f"in:{kind}_pred_batch{i}"]) for i in range(3)]


def test_correlation_and_r2_after_each_batch(file):
    sums = TrackSums(6)
    pearson, error = PearsonSums.zero(6), ErrorSums.zero(6)
    for number, (truth, prediction) in enumerate(batches(file)):
        sums.update(truth, prediction)
        pearson = pearson.merge(PearsonSums.from_values(prediction, truth))
        error = error.merge(ErrorSums.from_values(prediction, truth))
        for name, value in (("pearsonr", sums.pearson()), ("r2", sums.r2())):
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, file[f"out:{name}_after_batch{number}"], **TOLERANCE)
            np.testing.assert_allclose(value.mean(), file[f"out:{name}_mean_after_batch{number}"], **TOLERANCE)
        np.testing.assert_allclose(error.finalize()["r2"], file[f"out:r2_after_batch{number}"], **TOLERANCE)
    np.testing.assert_allclose(pearson.finalize()["pearson"], file["out:pearsonr_exact_float64"], rtol=1e-9)


def test_one_value_a_record(file):
    sums = TrackSums(6)
    for truth, prediction in batches(file):
        sums.update(truth[:, 5], prediction[:, 5])
    np.testing.assert_allclose(sums.pearson(), file["out:pearsonr_rank2_position5"], **TOLERANCE)
    np.testing.assert_allclose(sums.r2(), file["out:r2_rank2_position5"], **TOLERANCE)


def test_constant_truth_and_constant_prediction(file):
    truth, prediction = (value.copy() for value in batches(file)[0])
    truth[..., 0], prediction[..., 1] = truth[0, 0, 0], prediction[0, 0, 1]
    sums = TrackSums(6)
    sums.update(np.where(np.arange(6) == 0, np.float32(1.5), truth), prediction)
    wanted = {name: file[f"out:{name}_nan_edge_const_true0_const_pred1"] for name in ("pearsonr", "r2")}
    assert not np.isfinite(sums.pearson()[0]) and not np.isfinite(wanted["pearsonr"][0])
    assert sums.pearson()[1] == wanted["pearsonr"][1] == 0
    np.testing.assert_allclose(sums.pearson()[2:], wanted["pearsonr"][2:], **TOLERANCE)
    assert not np.isfinite(sums.r2()[0]) and not np.isfinite(wanted["r2"][0])
    np.testing.assert_allclose(sums.r2()[2:], wanted["r2"][2:], **TOLERANCE)
    exact = PearsonSums.from_values(prediction, np.where(np.arange(6) == 0, 1.5, truth)).finalize()["pearson"]
    assert np.isnan(exact[:2]).all() and np.isfinite(exact[2:]).all()


def test_areas_under_the_curves(file):
    counts = ThresholdCounts(6)
    for truth, prediction in batches(file, "auc"):
        counts.update(truth, prediction)
    for name, area in (("ROC", counts.roc()), ("PR", counts.precision_recall())):
        np.testing.assert_allclose(area, file[f"out:seqauc_{name}_per_target"], atol=1e-5)
        np.testing.assert_allclose(area.mean(), file[f"out:seqauc_{name}_mean"], atol=1e-5)


def test_q_values_are_those_of_the_integer_division_or_the_true_ones():
    p = np.array([0.04, 0.001, 0.2, 0.03, 0.9])
    np.testing.assert_array_equal(q_values(p), np.floor(p * 5 / np.array([3, 1, 4, 2, 5])))
    np.testing.assert_allclose(q_values(p, "exact"), stats.false_discovery_control(p), rtol=1e-12)
    with pytest.raises(ValueError, match="adjustment='bh'"):
        q_values(p, "bh")


def test_peaks_are_found_in_every_eighth_bin():
    random = np.random.default_rng(0)
    truth = random.poisson(random.gamma(0.5, 2.0, (4, 640, 2))).astype(np.float64)
    truth[..., 1] = 0.0  # no peaks
    truth[:, 8, 0] = 40.0
    prediction = random.random((4, 640, 2))
    prediction[:, 8, 0] += 1
    exact, original = (peak_scores(truth, prediction, adjustment) for adjustment in ("exact", "original"))
    for auroc, auprc in (exact, original):
        assert (auroc[1], auprc[1]) == (0.5, 0.0)
    # the original's q-values call bins with a few reads too many peaks as well, which nothing here predicts
    assert 0.5 < original[0][0] < exact[0][0] <= 1.0 and original[1][0] < exact[1][0] <= 1.0
