"""Which windows and bins have a place in another assembly."""

import numpy as np
import pytest

from data_prep.labels.chains import Chains
from data_prep.labels.mapping import Geometry, Mapper

GEOMETRY = Geometry(crop=100, bin_width=10, bins=20)  # bins from 100 to 300 of a window that begins at 0
SIZE = 10_000


@pytest.fixture
def mapper(tmp_path):
    """A mapper for chains: (first, last, place on the other side, strand, chromosome there)."""

    def make(*chains, **options):
        text = []
        for start, end, target, strand, name in chains:
            head = f"chain 5 chr1 {SIZE} + {start} {end} {name} {SIZE} {strand} {target} {target + end - start} 1"
            text += [head, str(end - start), ""]
        (tmp_path / "x.chain").write_text("\n".join(text) + "\n")
        return Mapper(Chains([tmp_path / "x.chain"]), GEOMETRY, **options)

    return make


def test_a_window_that_is_the_same(mapper):
    found = mapper((0, 1000, 50, "+", "chr1")).map("chr1", 0)
    assert found.state == "whole" and found.starts.tolist() == list(range(150, 350, 10))


def test_bins_that_are_cut_or_elsewhere_have_no_place(mapper):
    # base 155 is deleted; from 156 to 300 all lies one base nearer
    found = mapper((0, 155, 0, "+", "chr1"), (156, 1000, 155, "+", "chr1"), length_change=0.01).map("chr1", 0)
    assert found.state == "whole" and np.flatnonzero(found.starts < 0).tolist() == [5]
    assert found.starts[6:].tolist() == list(range(159, 299, 10))
    # one bin lies on another chromosome, one far away: 5 % of 18 others are none, so a large share is needed
    moved = (0, 150, 0, "+", "chr1"), (150, 160, 40, "+", "chr2"), (160, 1000, 160, "+", "chr1")
    assert np.flatnonzero(mapper(*moved).map("chr1", 0).starts < 0).tolist() == [5]
    away = (0, 150, 0, "+", "chr1"), (150, 160, 4000, "+", "chr1"), (160, 1000, 160, "+", "chr1")
    assert np.flatnonzero(mapper(*away).map("chr1", 0).starts < 0).tolist() == [5]


@pytest.mark.parametrize(
    ("chains", "options", "state"),
    [
        ([(0, 150, 0, "+", "chr1")], {}, "unmapped"),
        ([(0, 250, 0, "+", "chr1")], {}, "whole"),
        ([(0, 250, 0, "+", "chr1")], {"least_mapped": 0.8}, "unmapped"),
        ([(0, 1000, 0, "-", "chr1")], {}, "strand"),
        ([(0, 1000, 0, "+", "chr7")], {}, "chromosome"),
        ([(0, 200, 0, "+", "chr1"), (200, 1000, 220, "+", "chr1")], {}, "length"),
        ([(0, 200, 0, "+", "chr1"), (200, 1000, 220, "+", "chr1")], {"length_change": 0.1}, "whole"),
        ([(0, 200, 0, "+", "chr1"), (200, 1000, 201, "+", "chr1")], {"length_change": 0.0}, "length"),
    ],
)
def test_windows_that_are_left_out(mapper, chains, options, state):
    found = mapper(*chains, **options).map("chr1", 0)
    assert found.state == state and (found.starts >= 0).any() == (state == "whole")


def test_parity_looks_at_the_first_base_alone(mapper):
    options = {"lift": "parity"}
    first = list(range(150, 350, 10))
    assert mapper((0, 101, 50, "+", "chr7"), **options).map("chr1", 0).starts.tolist() == first
    turned = mapper((0, 1000, 0, "-", "chr1"), **options).map("chr1", 0)
    assert turned.state == "whole" and turned.starts[:2].tolist() == [SIZE - 101, SIZE - 91]
    assert mapper((101, 1000, 0, "+", "chr1"), **options).map("chr1", 0).state == "unmapped"
