"""Tracks by assay."""

import numpy as np

from jaxepi.metrics.track_groups import assays_of, group_means, spread_over

ABOUT = ["CAGE:liver", "CHIP:H3K4me3:K562", "CHIP:H3K27ac:K562", "without", "CAGE:lung", "CAGE:skin"]


def test_the_assay_stands_before_the_first_colon():
    assert assays_of(ABOUT) == ["CAGE", "CHIP", "CHIP", "other", "CAGE", "CAGE"]
    assert assays_of(["liver", "lung"]) == assays_of([]) == []


def test_means_are_over_the_tracks_where_a_value_is_defined():
    values = {"pearson_bin": [0.5, 0.2, 0.4, np.nan, 0.7, np.nan], "n_values_bin": [1, 2, 3, 4, 5, 6]}
    found = group_means(assays_of(ABOUT), values)
    assert list(found) == ["CAGE", "CHIP", "other"]
    np.testing.assert_allclose([v["pearson_bin"] for v in found.values()], [0.6, 0.3, np.nan])
    assert [v["n_tracks"] for v in found.values()] == [3, 2, 1] and found["CAGE"]["n_values_bin"] == 4
    assert group_means([], values) == {}


def test_some_tracks_of_every_assay():
    assays = ["DNASE"] * 100 + ["ATAC"] * 2 + ["CAGE"] * 50
    assert spread_over(assays, 152, 200) == list(range(152))
    chosen = spread_over(assays, 152, 8)
    assert chosen == [0, 50, 99, 100, 101, 102, 126, 151]
    assert spread_over([], 100, 3) == [0, 50, 99]
    assert len(spread_over([str(k) for k in range(50)], 50, 8)) == 8
