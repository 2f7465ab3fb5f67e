"""Rank-based metrics against scikit-learn and SciPy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from jaxepi.metrics import exact


@pytest.fixture(params=[0, 40], ids=["distinct", "ties"])
def values(request):
    rng = np.random.default_rng(0)
    target = rng.random(700)
    score = 0.5 * target + 0.5 * rng.random(700)
    return (np.round(score * request.param) / request.param if request.param else score), target


def test_values_match_references(values):
    score, target = values
    label = target > 0.4
    assert exact.pearson(score, target) == pytest.approx(stats.pearsonr(score, target)[0], abs=1e-12)
    assert exact.spearman(score, target) == pytest.approx(stats.spearmanr(score, target)[0], abs=1e-12)
    assert exact.auc(score, label) == pytest.approx(sklearn_metrics.roc_auc_score(label, score), abs=1e-12)
    expected = sklearn_metrics.average_precision_score(label, score)
    assert exact.average_precision(score, label) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("values", [([], []), ([0.3], [0.4]), ([0.3, 0.3], [0.1, 0.2]), ([0.3, 0.4], [0.2, 0.2])])
def test_correlations_without_spread_are_nan(values):
    assert np.isnan(exact.pearson(*map(np.array, values)))
    assert np.isnan(exact.spearman(*map(np.array, values)))


def test_one_class_is_nan():
    score = np.array([0.1, 0.2])
    assert np.isnan(exact.auc(score, np.zeros(2))) and np.isnan(exact.auc(score, np.ones(2)))
    assert np.isnan(exact.average_precision(score, np.zeros(2)))
    assert exact.average_precision(score, np.ones(2)) == 1.0
