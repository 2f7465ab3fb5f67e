"""Labels of bins from peaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.sources.peak_bins import PeakLabels, bins_of
from jaxepi.errors import JaxepiError

LENGTHS = {"chr1": 1_000}


@given(st.integers(0, 300), st.lists(st.tuples(st.integers(0, 990), st.integers(1, 400)), min_size=1, max_size=8))
def test_a_bin_is_labelled_if_a_peak_has_a_base_of_it(tmp_path_factory, start, peaks):
    path = tmp_path_factory.mktemp("peaks") / "p.bed"
    rows = [(first, min(first + length, 1_000)) for first, length in peaks]
    path.write_text("".join(f"chr1\t{first}\t{last}\n" for first, last in rows))
    bases = np.zeros(1_000, bool)
    for first, last in rows:
        bases[first:last] = True
    want = bases[start : start + 640].reshape(-1, 64).any(axis=1)
    labels = PeakLabels([path, None], LENGTHS).labels("chr1", start, 10, 64)
    np.testing.assert_array_equal(labels, np.stack([want, np.zeros(10)], axis=1))


def test_the_originals_arithmetic_keeps_what_slices_do_with_negative_bins(tmp_path):
    assert bins_of(100, 90, 164, 64, "original") == (-1, 2) and bins_of(100, 90, 164, 64, "overlap") == (0, 1)
    path = tmp_path / "p.narrowPeak"
    path.write_text("chr1\t90\t164\tx\t0\n")
    for how, want in [("original", []), ("overlap", [0])]:
        labels = PeakLabels([path], LENGTHS, how=how).labels("chr1", 100, 5, 64)
        assert np.flatnonzero(labels).tolist() == want
    path.write_text("chr1\t0\t300\n")  # -2 to 4 of 5 bins: the fourth one only
    assert np.flatnonzero(PeakLabels([path], LENGTHS, how="original").labels("chr1", 100, 5, 64)).tolist() == [3]


def test_peaks_elsewhere_are_counted_and_wrong_ones_refused(tmp_path):
    path = tmp_path / "p.bed"
    path.write_text("chr1\t0\t10\nchr9\t5\t20\n")
    assert PeakLabels([path], LENGTHS).elsewhere == {path: 1}
    for text, sentence in [("chr1\t990\t1001\n", "chr1 is 1000 bases long"), ("", "holds no region")]:
        path.write_text(text)
        with pytest.raises(JaxepiError, match=sentence):
            PeakLabels([path], LENGTHS)
