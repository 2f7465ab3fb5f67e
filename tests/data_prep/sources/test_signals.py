"""Signals of BigWig, BED and HDF5 files: the same values from all, and one sentence for what is damaged."""

import gzip

import numpy as np
import pytest

from data_prep.sources.signals import kind_of_signal, open_signal
from data_prep.sources.tracks import TrackFile
from jaxepi.errors import JaxepiError

LENGTHS = {"chr1": 9_000, "chr2": 5_000}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the values (returned too) as BigWig and HDF5, and with peaks."""
    import h5py
    import pyBigWig

    folder, rng = tmp_path_factory.mktemp("signals"), np.random.default_rng(3)
    values = {chrom: rng.gamma(0.5, 4, length).astype(np.float32) for chrom, length in LENGTHS.items()}
    values["chr1"][200:300] = np.nan
    values["chr1"][500] = 90_000
    bigwig = pyBigWig.open(str(folder / "a.bw"), "w")
    bigwig.addHeader(list(LENGTHS.items()))
    with h5py.File(folder / "a.w5", "w") as hdf5:
        for chrom, own in values.items():
            at = np.flatnonzero(~np.isnan(own))
            bigwig.addEntries([chrom] * len(at), at.tolist(), ends=(at + 1).tolist(), values=own[at].tolist())
            hdf5[chrom] = own
    bigwig.close()
    with gzip.open(folder / "a.narrowPeak.gz", "wt") as file:
        file.write("chr1\t100\t400\nchr1\t350\t500\tx\nchr1\t8000\t9000\n")
    return folder, values


def test_one_signal_from_two_kinds_of_file(files):
    folder, values = files
    bigwig, hdf5 = (open_signal(TrackFile("a", folder / name)) for name in ("a.bw", "a.w5"))
    np.testing.assert_array_equal(bigwig.read("chr1", 10, 8_000), values["chr1"][10:8_000])
    np.testing.assert_array_equal(hdf5.read("chr1", 10, 8_000), np.clip(values["chr1"][10:8_000], None, 65_504))
    assert bigwig.lengths() == hdf5.lengths() == LENGTHS
    for signal in (bigwig, hdf5):
        assert np.isnan(signal.read("chr9", 0, 10)).all()
    assert open_signal(TrackFile("a", folder / "a.w5"), "strip").lengths() == {"1": 9_000, "2": 5_000}


def test_peaks_are_one_inside(files):
    peaks = open_signal(TrackFile("p", files[0] / "a.narrowPeak.gz"))
    want = np.zeros(9_000, np.float32)
    want[100:500] = want[8_000:] = 1
    for start, end in ((0, 9_000), (0, 100), (99, 101), (499, 501), (500, 8_000), (300, 360), (8_999, 9_000)):
        np.testing.assert_array_equal(peaks.read("chr1", start, end), want[start:end])
    assert not peaks.read("chr2", 0, 10).any() and peaks.lengths() == {"chr1": 9_000}


def test_files_that_cannot_be_read(tmp_path):
    import h5py

    (tmp_path / "a.h5").write_bytes(b"nothing")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["chr1"] = np.zeros((2, 3))
    (tmp_path / "a.bed").write_text("# nothing\n")
    (tmp_path / "a.bw").write_bytes(b"nothing")
    whole = gzip.compress(b"".join(b"chr1\t%d\t%d\n" % (i * 10, i * 10 + 7) for i in range(2_000)))
    (tmp_path / "a.bed.gz").write_bytes(whole[: len(whole) // 2])
    for name, sentence in [
        ("a.h5", "a.h5 is truncated or not an HDF5 file"),
        ("b.h5", "b.h5 holds 'chr1', which is no vector"),
        ("a.bed", "a.bed holds no interval"),
        ("a.bed.gz", "a.bed.gz cannot be read to its end"),
        ("a.bw", "a.bw is truncated or not a BigWig file"),
    ]:
        with pytest.raises(JaxepiError, match=sentence):
            open_signal(TrackFile("a", tmp_path / name)).lengths()
    with pytest.raises(JaxepiError, match="a.txt has an unknown ending"):
        kind_of_signal(tmp_path / "a.txt")
