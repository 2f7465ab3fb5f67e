"""Densities of values of any range: whatever the scale, every value is counted in the cell that its axis says."""

import numpy as np
import pytest

from jaxepi.evaluate.sampled_density import BINS, density, density_curves, floor_of, ranked, to_axis
from jaxepi.evaluate.sampling import Sample


def values(kind, count=2000):
    random = np.random.default_rng(0)
    drawn = {
        "fractions": random.random((2, count)),
        "counts": random.poisson(random.lognormal(0, 2, (2, count))).astype(float),
        "signed": random.normal(0, 1, (2, count)) ** 5,
        "one value": np.full((2, count), 3.0),
        "zeros": np.zeros((2, count)),
    }
    return drawn[kind]


@pytest.mark.parametrize(
    ("kind", "logarithmic"),
    [("fractions", False), ("counts", True), ("signed", True), ("one value", False), ("zeros", False)],
)
def test_axes_are_logarithmic_where_values_span_decades(kind, logarithmic):
    predicted, measured = values(kind)
    counts, (low, high, floor) = density(predicted, measured)
    assert (floor > 0) == logarithmic and counts.shape == (BINS, BINS) and counts.sum() == len(predicted)
    edges = np.linspace(low, high, BINS + 1)
    axis = [to_axis(side, floor) for side in (predicted, measured)]
    np.testing.assert_array_equal(counts, np.histogram2d(*axis, bins=[edges, edges])[0])
    assert low <= min(map(np.min, axis)) and high >= max(map(np.max, axis))


def test_an_axis_keeps_order_sign_and_zero():
    given = np.array([-1000.0, -1.0, -0.01, 0.0, 0.01, 1.0, 1000.0])
    made = to_axis(given, 0.5)
    assert (np.diff(made) > 0).all() and made[3] == 0
    np.testing.assert_allclose(made, -made[::-1])
    np.testing.assert_array_equal(to_axis(given, 0.0), given)
    assert floor_of(np.array([1.0, 2.0, 1e9])) == 1e5  # four decades at most


def test_what_is_not_known_is_not_counted():
    counts, _ = density(np.array([1.0, np.nan, 3.0, np.inf]), np.array([1.0, 2.0, np.nan, 4.0]))
    assert counts.sum() == 1 and density(np.zeros(0), np.zeros(0))[0].sum() == 0


def test_curves_are_of_all_values_and_of_the_chosen_tracks():
    predicted, measured = (side.reshape(-1, 4).astype(np.float32) for side in values("counts"))
    measured[::3, 1] = np.nan
    curves = density_curves(Sample(predicted, measured, len(predicted)), "bin", [3, 1])
    assert curves["bin/density_flat"].sum() == np.isfinite(measured).sum()
    assert curves["bin/density"].sum(axis=(1, 2)).tolist() == np.isfinite(measured).sum(axis=0)[[3, 1]].tolist()
    assert curves["bin/density_track"].tolist() == [3, 1] and curves["bin/density_range"].shape == (2, 3)


def test_tracks_are_ranked_and_thinned_evenly():
    scores = [0.1, float("nan"), 0.9, 0.5, 0.3]
    assert ranked(scores, 9) == [2, 3, 4, 0] and ranked(scores, 2) == [2, 0] and ranked([float("nan")], 3) == []
