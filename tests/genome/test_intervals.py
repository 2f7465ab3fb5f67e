"""Intervals against a reading base by base."""

import numpy as np
import pytest

from jaxepi.genome.intervals import Interval, Intervals, extended, joined, make_interval, parse_interval


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
    regions = Intervals.of([("1", a, b) for a, b in zip(*spans, strict=True)])
    sites = np.arange(450)
    bases = np.array(sorted({x for a, b in zip(*spans, strict=True) for x in range(a - (edges == "closed"), b)}))
    want = np.abs(bases[None] - sites[:, None]).min(axis=1)
    np.testing.assert_array_equal(regions.distance("1", sites, edges), want)
    np.testing.assert_array_equal(regions.holds("1", sites, edges), want == 0)


def test_a_chromosome_without_regions():
    regions = Intervals.of([("1", 3, 5)], ["3", "1"]).extended(4)
    assert np.isinf(regions.distance("2", np.arange(3))).all() and not regions.holds("3", np.arange(3)).any()
    assert np.flatnonzero(regions.holds("1", np.arange(9))).tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(4))
def test_touching_windows_against_base_marks(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 900, 12)
    spans = [("chr1", int(s), int(s + n)) for s, n in zip(starts, rng.integers(1, 90, 12), strict=True)]
    marked = np.zeros(1000, bool)
    for _, start, end in spans:
        marked[start:end] = True
    windows = np.arange(0, 970)
    assert Intervals.of(spans).touches("chr1", windows, 30).tolist() == [marked[s : s + 30].any() for s in windows]


def test_columns_and_single_intervals_say_the_same():
    rows = [Interval("chr2", 5, 9), Interval("chr1", 0, 3), Interval("chr2", 1, 2)]
    columns = Intervals.of(rows, ["chr1"])
    assert list(columns) == rows and columns[1] == rows[1] and len(columns) == 3
    assert columns.chroms == ("chr1", "chr2") and columns.start.dtype == np.int64 and columns.chrom_id.dtype == np.int32
    assert Intervals.of([rows[0]], ["chr1", "chr3"]).present == ("chr2",)
    assert len(Intervals.of([])) == 0 and Intervals.of([]).present == ()


@pytest.mark.parametrize("chrom", ["chr1", "1", "HLA-A*01:01:01:01", "NC_000001.11"])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (999, 1_000), (1_234_567, 248_956_422)])
def test_the_text_of_an_interval_reads_back(chrom, start, end):
    assert parse_interval(str(Interval(chrom, start, end))) == (chrom, start, end)
    assert parse_interval(f" {chrom}:{start:,}-{end:,}\n") == (chrom, start, end)


@pytest.mark.parametrize(
    "text", ["", "chr1", "chr1:5", "chr1:5-5", "chr1:9-5", "chr1:-5-9", "chr1:5-x", "chr1:1_0-20", ":1-2"]
)
def test_what_is_no_region(text):
    with pytest.raises(ValueError, match="is no region chrom:start-end"):
        parse_interval(text)


NO_INTERVALS = [
    *(("c", "1", "1"), ("", "1", "2"), ("c", "-1", "2"), ("c", "1_0", "20"), ("c", "1", "²"), ("c", "1.0", "2")),
    ("c", "1", "9" * 30),
]


@pytest.mark.parametrize("cells", NO_INTERVALS)
def test_cells_that_are_no_interval(cells):
    with pytest.raises(ValueError, match="should be whole numbers|is no interval"):
        make_interval(*cells)
    assert make_interval("c", "1", "2") == ("c", 1, 2)
