"""The table of bins: sites in their order, as far as they lie in their contig."""

import gzip

import numpy as np

from jaxepi.analysis.bins.tables import write_bin_table

CHROM, START = np.array(["b", "a"]), np.array([-10, 85])
VALUES = np.array([[[1.0, 2.0], [0.125, 1e-9], [3.0, 4.0]], [[1 / 3, 6.0], [7.0, 8.0], [9.0, 9.0]]])


def test_a_row_a_bin_and_a_column_a_track(tmp_path):
    for path in (tmp_path / "t.tsv", tmp_path / "t.tsv.gz", tmp_path / "again.tsv.gz"):
        write_bin_table(path, {"a": 99, "b": 50}, CHROM, START, 10, VALUES, ["one", "two\tt"])
    assert (tmp_path / "t.tsv").read_text().splitlines() == [
        "chrom\tstart\tend\tone\ttwo t",
        "b\t0\t10\t0.125\t1e-09",
        "b\t10\t20\t3\t4",
        "a\t85\t95\t0.333333\t6",
        "a\t95\t99\t7\t8",
    ]
    zipped = (tmp_path / "t.tsv.gz").read_bytes()
    assert gzip.decompress(zipped) == (tmp_path / "t.tsv").read_bytes()
    assert zipped == (tmp_path / "again.tsv.gz").read_bytes()
