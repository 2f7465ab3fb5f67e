"""Rank-based values of a sample: right, named by region, and undefined where they must be."""

import numpy as np
import pytest
from scipy import stats

from jaxepi.evaluate.sampled import sampled_values
from jaxepi.evaluate.sampling import Sample


@pytest.fixture
def sample():
    """Five tracks: two cells, two statistics with ties, and one with a prediction that is no number."""
    random = np.random.default_rng(0)
    target = np.round(random.random((200, 5)), 1).astype(np.float32)
    prediction = np.round(0.5 * target + 0.5 * random.random(target.shape), 2).astype(np.float32)
    target[random.random(target.shape) < 0.2] = np.nan
    prediction[3, 4] = np.nan
    target[3, 4] = 0.5
    return Sample(prediction, target, seen=500)


REGIONS = ("cpg", "statistics", "cpg", "statistics", "statistics")


def test_each_value_is_that_of_scipy(sample):
    summary, per_track, undefined = sampled_values(sample, REGIONS, 0.5, kendall=(1, 3, 4))
    for track in range(4):
        keep = ~np.isnan(sample.target[:, track])
        pair = sample.prediction[keep, track], sample.target[keep, track]
        own, other = (REGIONS[track], "cpg" if REGIONS[track] == "statistics" else "statistics")
        assert per_track[f"spearman_{own}"][track] == pytest.approx(stats.spearmanr(*pair)[0], abs=1e-12)
        assert np.isnan(per_track[f"spearman_{other}"][track])
        if own == "statistics":
            assert per_track["kendall_statistics"][track] == pytest.approx(tau_b(*pair), abs=1e-12)
    assert "kendall_cpg" not in per_track and "kendall_cpg_per_track_mean" not in summary
    defined = [per_track["kendall_statistics"][track] for track in (1, 3)]
    assert summary["kendall_statistics_per_track_mean"] == pytest.approx(np.mean(defined))
    assert summary["kendall_statistics_n_tracks"] == 2
    assert np.isnan(per_track["kendall_statistics"][4]) and list(undefined["kendall_statistics"]) == [4]
    assert "not finite" in undefined["kendall_statistics"][4]
    assert summary["sample_positions_statistics"] == 200 and summary["sample_complete_cpg"] == 0.0


def test_ranks_of_all_tracks_as_one_are_given_where_they_are_asked_for(sample):
    summary, _, _ = sampled_values(sample, REGIONS, None, flat_ranks=True)
    pair = [array[:, [0, 2]][~np.isnan(sample.target[:, [0, 2]])] for array in (sample.prediction, sample.target)]
    assert summary["spearman_cpg_flat"] == pytest.approx(stats.spearmanr(*pair)[0], abs=1e-12)
    assert np.isnan(summary["spearman_statistics_flat"])  # a prediction is no number
    assert "spearman_cpg_flat" not in sampled_values(sample, REGIONS)[0]


def tau_b(x, y):
    """By its definition, pair by pair."""
    sign = np.sign(x[:, None].astype(float) - x) * np.sign(y[:, None].astype(float) - y)
    untied = [(side[:, None] != side).sum() for side in (x, y)]
    return sign.sum() / np.sqrt(float(untied[0]) * float(untied[1]))


def test_a_constant_or_nothing_is_undefined():
    target = np.array([[0.1, np.nan, 0.3], [0.2, np.nan, np.nan]], np.float32)
    constant = Sample(np.full((2, 3), 0.5, np.float32), target, 2)
    summary, per_track, undefined = sampled_values(constant, ("a",) * 3, None, kendall=(0, 1, 2))
    assert np.isnan(per_track["kendall_a"]).all() and np.isnan(summary["kendall_a_per_track_mean"])
    assert list(undefined["kendall_a"]) == [0, 1, 2] and "auc_sampled_a" not in per_track
