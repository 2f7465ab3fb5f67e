"""Measured bins and their correlation with predicted ones."""

import numpy as np
import pyBigWig
import pytest

from jaxepi.analysis.bins.measured import Agreement, Correlation, MeasuredTracks
from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Intervals
from jaxepi.metrics.exact import pearson
from jaxepi.task import Grid


def test_correlations_of_parts_are_those_of_the_whole():
    random = np.random.default_rng(0)
    x = random.gamma(0.5, 3.0, 200) + 1e6
    y = 0.3 * x + random.normal(size=200)
    x[7], y[30:33] = np.nan, np.inf
    correlation = Correlation()
    for low, high in ((0, 1), (1, 90), (90, 90), (90, 200)):
        correlation.add(x[low:high], y[low:high])
    known = np.isfinite(x) & np.isfinite(y)
    assert correlation.count == 196
    np.testing.assert_allclose(correlation.value, pearson(x[known], y[known]), rtol=1e-9)


def test_what_has_no_spread_has_no_correlation():
    for x in (np.full(9, 0.1), np.array([2.0])):
        correlation = Correlation()
        correlation.add(x, np.arange(len(x), dtype=float))
        correlation.add(x[:1], np.zeros(1))
        assert np.isnan(correlation.value)
    agreement = Agreement()
    agreement.add(np.array([0.0, 1.0, 3.0, 7.0]), np.array([3.0, -1.0, 15.0, 31.0]))
    assert agreement.unlogged == 1 and agreement.log2.count == 3
    np.testing.assert_allclose(agreement.log2.value, pearson(np.array([0, 2, 3]), np.array([2, 4, 5])))


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGT" * 8 + "A\n>chr2\n" + "ACGT" * 10 + "\n")
    with pyBigWig.open(str(tmp_path / "a.bw"), "w") as file:
        file.addHeader([("chr1", 33)])
        file.addEntries(["chr1"] * 3, [0, 8, 32], ends=[6, 12, 33], values=[1.0, 3.0, 9.0])
    return Genome(tmp_path / "g.fa")


def tracks(genome, files, stat="mean", chrom="chr1"):
    plan = BinPlan(Intervals.of([(chrom, 0, 20)]), genome.lengths, Grid("bin", bin=4, crop=0), 20)
    return MeasuredTracks(files, ["liver", "lung"], stat, genome, plan)


def test_bins_are_means_or_sums_and_missing_bases_count_as_0(genome, tmp_path):
    wanted = np.array([np.nan, 4, 2, 12, 0, 0, 0, 0, 0, np.nan])  # the last whole bin ends at 32, the first begins at 0
    for stat, by in (("mean", 4), ("sum", 1)):
        own = tracks(genome, {"lung": tmp_path / "a.bw"}, stat)
        found = own.read("chr1", -4, 10)
        assert own.columns == (1,) and own.names == ["lung"] and found.shape == (10, 1)
        np.testing.assert_allclose(found[:, 0], wanted / by)
    assert own.notes() == ["measured bins without any record in their file, which count as 0: 5"]


@pytest.mark.parametrize(
    ("files", "more", "sentence"),
    [
        (["a.bw"], {}, r"There are 1 measured file\(s\) for 2 written track\(s\) \(liver, lung\)"),
        ({"lnug": "a.bw"}, {}, r"Track 'lnug' fits no track \(did you mean 'lung'\?\)"),
        ({"lung": "a.bw", "lun": "b.bw"}, {}, "The track 'lung' has two measured files"),
        ({"lung": "none.bw"}, {}, r"none\.bw does not exist: the BigWig of the measured track 'lung' was expected"),
        ({"lung": "a.bw"}, {"stat": "median"}, r"measured_stat is 'median' \(did you mean 'mean'\?\), but"),
        ({"lung": "a.bw"}, {"chrom": "chr2"}, r"a\.bw has no chromosome 'chr2', of which regions are predicted"),
    ],
)
def test_files_that_do_not_fit_are_one_sentence(genome, tmp_path, files, more, sentence):
    named = {name: tmp_path / file for name, file in files.items()} if isinstance(files, dict) else files
    with pytest.raises(JaxepiError, match=sentence):
        tracks(genome, named, **more)
