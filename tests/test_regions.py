import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.regions import as_interval, positions_of, window_starts
from jaxepi.task import Grid


@pytest.mark.parametrize(
    ("region", "starts"),
    [("c:100-110", [55]), ("c:0-10", [0]), ("c:990-1000", [900]), ("c:100-200", [100]), ("c:100-350", [100, 200, 250])],
)
def test_one_centred_window_or_tiles_that_end_with_the_region(region, starts):
    assert window_starts(as_interval(region), 1000, 100).tolist() == starts
    assert window_starts(as_interval("c:10-20"), 50, 100).tolist() == [0]


@pytest.mark.parametrize(
    ("region", "starts"),
    [
        ("c:100-110", [55]),  # centred
        ("c:0-10", [-45]),  # never moved
        ("c:40-121", [30, 110]),  # the predicted part has 80 bp: windows overlap by the crop on both sides
        ("c:40-120", [30]),
        ("c:0-240", [-10, 70, 150]),
    ],
)
def test_predicted_parts_of_bins_lie_side_by_side(region, starts):
    grid, interval = Grid("bin", bin=8, crop=10), as_interval(region)
    found = window_starts(interval, 250, 100, grid)
    assert found.tolist() == starts
    places = positions_of(found, grid, 100)
    if len(starts) > 1:
        bins = places.ravel()
        assert bins[0] == interval.start and (np.diff(bins) == 8).all() and bins[-1] + 8 >= interval.end
    assert window_starts(interval, 250, 100, Grid("cpg")).min() >= 0


def test_places_of_values():
    starts = np.array([100, 300])
    assert positions_of(starts, Grid("site"), 11).tolist() == [[105], [305]]
    assert positions_of(starts, Grid("bin", bin=4, crop=2), 12).tolist() == [[102, 106], [302, 306]]
    with pytest.raises(JaxepiError, match="two places"):
        positions_of(starts, Grid("pair"), 4)
    for text in ("chr1", "chr1:5-2", None):
        with pytest.raises(JaxepiError, match=r"is no region: expected chrom:start-end"):
            as_interval(text)
