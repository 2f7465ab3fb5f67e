"""Windows over regions, and the sites in them."""

import numpy as np
import pytest

from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals
from jaxepi.task import Grid

LENGTHS = {"a": 1000, "b": 120}
GRID, WINDOW = Grid("bin", bin=10, crop=30), 200  # 14 bins are predicted


def plan(*regions, **options):
    return BinPlan(Intervals.of(regions, tuple(LENGTHS)), LENGTHS, GRID, WINDOW, **options)


def test_short_regions_are_sites_on_their_middle_and_long_ones_are_tiled():
    made = plan(("a", 500, 507), ("a", 100, 400), ("b", 0, 120), ("a", 860, 1000))
    assert made.start.tolist() == [403, 70, 210, 350, -40, 830] and made.region.tolist() == [0, 1, 1, 1, 2, 3]
    assert made.chrom.tolist() == ["a"] * 4 + ["b", "a"] and (made.first, made.bins) == (0, 14)
    start, end = made.sites
    assert start.tolist() == [433, 100, 240, 380, -10, 860] and (end - start == 140).all()
    assert made.notes() == [
        "windows that leave their chromosome and are filled with N: 2",
        "sites of which some bins lie outside their chromosome: 1",
    ]


@pytest.mark.parametrize(("length", "first", "bins"), [(140, 0, 14), (40, 5, 4), (10, 7, 1), (30, 6, 3)])
def test_a_site_is_the_bins_around_the_middle_one(length, first, bins):
    """As the original: bins n // 2 - m // 2 and on, one window a region however long that is."""
    made = plan(("a", 500, 508), ("a", 0, 900), site_length=length)
    assert (made.first, made.bins) == (first, bins) and made.start.tolist() == [404, 350]
    start, end = made.sites
    assert start.tolist() == [404 + 30 + 10 * first, 350 + 30 + 10 * first] and (end - start == length).all()
    assert made.notes() == [f"regions longer than their site of {length} bp, whose ends are left out: 1"]


def test_whole_records_are_one_window_each():
    made = plan(("a", 0, 1000), ("b", 0, 120), tiled=False)
    assert made.start.tolist() == [400, -40] and made.notes()[0].endswith("of 140 bp, whose ends are left out: 1")


@pytest.mark.parametrize("length", [15, 0, -10, 150])
def test_a_site_is_a_number_of_bins_that_there_are(length):
    with pytest.raises(JaxepiError, match=rf"site length is {length} bp, but .* 14 bins of 10 bp.* from 10 to 140 was"):
        plan(("a", 0, 10), site_length=length)


def test_every_base_of_a_long_region_is_in_one_bin():
    made = plan(("a", 13, 981))
    start, end = made.sites
    bins = np.concatenate([np.arange(low, high, 10) for low, high in zip(start, end, strict=True)])
    assert bins[0] == 13 and (np.diff(bins) == 10).all() and bins[-1] + 10 >= 981 > bins[-1] + 10 - 140
