"""Intervals against a reading base by base."""

import numpy as np
import pytest

from data_prep.sources.intervals import Intervals, extended, joined


@pytest.fixture(params=range(4))
def spans(request):
    rng = np.random.default_rng(request.param)
    starts = rng.integers(0, 400, 25)
    return starts, starts + rng.integers(1, 30, 25)


def test_joined(spans):
    starts, ends, group = joined(*spans)
    covered = {base for a, b in zip(*spans, strict=True) for base in range(a, b)}
    assert {base for a, b in zip(starts, ends, strict=True) for base in range(a, b)} == covered
    assert (starts[1:] > ends[:-1]).all()  # they do not even touch
    for a, b, number in zip(*spans, group, strict=True):
        assert starts[number] <= a < b <= ends[number]


def test_touching_ones_are_joined_and_nothing_is_nothing():
    assert [x.tolist() for x in joined([5, 0], [9, 5])] == [[0], [9], [0, 0]]
    assert [x.tolist() for x in joined([6, 0], [9, 5])] == [[0, 6], [5, 9], [1, 0]]
    assert all(len(x) == 0 for x in joined([], []))


def test_extended():
    starts, ends = extended([10, 10, 1, 50], [13, 20, 2, 90], 10)
    assert list(zip(starts.tolist(), ends.tolist(), strict=True)) == [(7, 17), (10, 20), (0, 7), (50, 90)]


@pytest.mark.parametrize("edges", ["half-open", "closed"])
def test_distance_and_inside(spans, edges):
    regions = Intervals({"1": list(zip(*spans, strict=True))})
    sites = np.arange(450)
    bases = np.array(sorted({x for a, b in zip(*spans, strict=True) for x in range(a - (edges == "closed"), b)}))
    want = np.abs(bases[None] - sites[:, None]).min(axis=1)
    np.testing.assert_array_equal(regions.distance("1", sites, edges), want)
    np.testing.assert_array_equal(regions.holds("1", sites, edges), want == 0)


def test_a_chromosome_without_regions():
    regions = Intervals({"1": [(3, 5)], "3": []}, least=4)
    assert np.isinf(regions.distance("2", np.arange(3))).all() and not regions.holds("3", np.arange(3)).any()
    assert np.flatnonzero(regions.holds("1", np.arange(9))).tolist() == [2, 3, 4, 5]
