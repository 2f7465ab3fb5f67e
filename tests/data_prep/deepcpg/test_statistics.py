import numpy as np
import pytest

from data_prep.deepcpg.statistics import STATISTICS, class_counts, neighbour_means, over_cells, window_means


def test_by_hand():
    values = np.array([[0, 1, 1, np.nan], [1, 1, 1, 1], [0.2, 0.4, np.nan, np.nan], [np.nan] * 4], np.float32)
    got = dict(zip(STATISTICS, over_cells(values, STATISTICS).T, strict=True))
    np.testing.assert_allclose(got["mean"][:3], [2 / 3, 1, 0.3], rtol=1e-6)
    np.testing.assert_allclose(got["var"][:3], [2 / 9, 0, 0.01], atol=1e-7)
    assert got["mode"][:3].tolist() == [1, 1, 0] and got["cat_var"][:3].tolist() == [2, 0, 0]
    assert got["cat2_var"][:3].tolist() == [1, 0, 0] and got["diff"][:3].tolist() == [1, 0, 1]
    assert got["cov"][:3].tolist() == [3, 4, 2]
    np.testing.assert_allclose(got["entropy"][0], -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)), rtol=1e-6)
    assert all(np.isnan(got[name][3]) for name in STATISTICS)
    assert np.isnan(over_cells(values, ["mean"], 3)).ravel().tolist() == [False, False, True, True]


def test_half_is_rounded_to_even_and_truncation_is_an_option():
    assert over_cells(np.array([[0.0, 1.0]]), ["mode"])[0, 0] == 0
    same = np.array([[0.5, 0.5], [0.0, 0.9]])
    assert over_cells(same, ["diff"]).ravel().tolist() == [0, 1]
    assert over_cells(same, ["diff"], maximum="truncated").ravel().tolist() == [1, 0]


def test_no_cells():
    assert np.isnan(over_cells(np.empty((3, 0)), STATISTICS)).all()
    assert over_cells(np.empty((3, 0)), []).shape == (3, 0)


def test_window_means_agree_with_neighbour_means():
    rng = np.random.default_rng(0)
    positions = np.sort(rng.choice(2000, 80, replace=False)).astype(np.int32)
    values = rng.random(80)
    sites = np.arange(0, 2000, 37, dtype=np.int32)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    distance = np.abs(positions[None] - sites[:, None]).astype(float)
    state = np.broadcast_to(values, distance.shape)
    for window in (1, 50, 301):
        wide = window_means(positions, sums, sites, window)
        np.testing.assert_allclose(wide, neighbour_means(state, distance, window), rtol=1e-9)


@pytest.mark.parametrize(
    ("labels", "classes", "want"), [([0, 1, 1, np.nan], 2, [1, 2, 0]), ([0, 2, 2.0], 3, [1, 0, 2])]
)
def test_class_counts(labels, classes, want):
    assert class_counts(np.array(labels), classes).tolist() == want
    assert class_counts(np.array([0.5, 0.51, 1.0]), 2).tolist() == [1, 2, 0]
