"""BigWigs of bins: every base once, also where sites overlap, lie out of order or leave their contig."""

import numpy as np
import pyBigWig
import pytest

from jaxepi.analysis.bins import bigwigs
from jaxepi.analysis.bins.bigwigs import write_bin_bigwigs

CONTIGS = {"a": 1000, "b": 95}


def painted(chrom, start, width, values):
    """Track -> contig -> value of each base, NaN without: sites by their start, the first one wins."""
    bases = {name: np.full((length, values.shape[2]), np.nan) for name, length in CONTIGS.items()}
    for site in np.argsort(start, kind="stable"):
        for number, row in enumerate(values[site]):
            for base in range(start[site] + number * width, start[site] + (number + 1) * width):
                own = bases[chrom[site]]
                if 0 <= base < len(own) and np.isnan(own[base, 0]):
                    own[base] = row
    return bases


@pytest.mark.parametrize("group", [128, 2])
def test_each_base_is_written_once_in_any_order_of_sites(tmp_path, monkeypatch, group):
    monkeypatch.setattr(bigwigs, "OPEN_FILES", group)
    chrom = np.array(["a", "b", "a", "a", "a", "b", "a", "a"])
    start = np.array([500, -20, 100, 523, 100, 60, 140, 980])
    values = np.random.default_rng(0).random((8, 4, 3)).astype(np.float32)
    paths = [tmp_path / f"{k}.bw" for k in range(3)]
    write_bin_bigwigs(paths, CONTIGS, chrom, start, 10, values)
    wanted = painted(chrom, start, 10, values)
    for k, path in enumerate(paths):
        with pyBigWig.open(str(path)) as file:
            assert file.chroms() == CONTIGS
            for name, length in CONTIGS.items():
                np.testing.assert_array_equal(file.values(name, 0, length), wanted[name][:, k].astype(np.float32))
                assert len({entry[:2] for entry in file.intervals(name)}) == len(file.intervals(name))
    assert np.isnan(wanted["a"]).any() and not np.isnan(wanted["b"][:20]).any()


def test_nothing_to_write_is_an_empty_file(tmp_path):
    write_bin_bigwigs([tmp_path / "0.bw"], CONTIGS, np.array(["b"]), np.array([95]), 10, np.ones((1, 4, 1)))
    with pyBigWig.open(str(tmp_path / "0.bw")) as file:
        assert file.intervals("b") is None
