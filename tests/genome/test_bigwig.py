"""A BigWig along a genome: what it holds, where it holds nothing, and files of another genome."""

import numpy as np
import pyBigWig
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.genome.bigwig import BaseSignal
from jaxepi.genome.fasta import Genome


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGT" * 25 + "\n>chr2\n" + "ACGT" * 10 + "\n")
    return Genome(tmp_path / "g.fa")


def bigwig(path, lengths):
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(lengths.items()))
        file.addEntries([next(iter(lengths))] * 2, [2, 5], ends=[4, 6], values=[0.5, 2.0])
    return path


def test_values_lie_at_their_bases_and_nothing_is_nan(genome, tmp_path):
    signal = BaseSignal(bigwig(tmp_path / "a.bw", {"chr1": 100}), genome)
    values = signal.read("chr1", -2, 7)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [np.nan] * 4 + [0.5, 0.5, np.nan, 2.0, np.nan])
    assert np.isnan(signal.read("chr1", 98, 105)).all() and np.isnan(signal.read("chr2", 0, 9)).all()
    assert np.isnan(signal.read("chr1", 200, 203)).all()
    assert signal.lacks(["chr1", "chr2", "chr2"]) == 2 and signal.identity() == signal.identity()


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [
        ({"1": 100}, r"a\.bw names '1' where .*g\.fa has 'chr1': use the same style of names in both"),
        ({"scaffold": 100}, r"a\.bw \(scaffold\) and .*g\.fa share no chromosome"),
        ({"chr1": 90, "chr2": 40}, r"chr1 has 90 bp in .*a\.bw and 100 in .*g\.fa: use files of the same genome build"),
    ],
)
def test_a_file_of_another_genome_is_one_sentence(genome, tmp_path, lengths, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        BaseSignal(bigwig(tmp_path / "a.bw", lengths), genome)


def test_what_is_no_bigwig_is_told(genome, tmp_path):
    with pytest.raises(JaxepiError, match=r"none\.bw does not exist: the BigWig of x was expected"):
        BaseSignal(tmp_path / "none.bw", genome, "the BigWig of x")
    (tmp_path / "cut.bw").write_bytes(bigwig(tmp_path / "a.bw", {"chr1": 100}).read_bytes()[:-9])
    with pytest.raises(JaxepiError, match=r"cut\.bw is truncated or not a BigWig file"):
        BaseSignal(tmp_path / "cut.bw", genome)
