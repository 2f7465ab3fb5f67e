"""Harmonised names on top of FASTA access, which has its own tests."""

import pickle

import numpy as np
import pytest

from data_prep.sources.genome import Genome
from jaxepi.errors import JaxepiError


@pytest.fixture
def codes(tools):
    return tools.random_codes(np.random.default_rng(0), 5000)


def test_outside_the_chromosome_is_n(codes, tools, tmp_path):
    genome = Genome(tools.write_fasta(tmp_path / "g.fa", {"chr1": codes}))
    row = genome.codes("chr1", -5, 5005)
    assert len(row) == 5010 and (row[:5] == 4).all() and (row[-5:] == 4).all()
    np.testing.assert_array_equal(row[5:-5], codes)
    assert genome.codes("chr1", 6000, 6010).tolist() == [4] * 10
    assert genome.codes("chr1", -20, -10).tolist() == [4] * 10


def test_prefix_and_pickling(codes, tools, tmp_path):
    path = tools.write_fasta(tmp_path / "g.fa", {"1": codes, "MT": codes[:80]})
    genome = pickle.loads(pickle.dumps(Genome(path, "add")))
    assert genome.lengths == {"chr1": 5000, "chrM": 80}
    np.testing.assert_array_equal(genome.codes("chr1", 3, 9), codes[3:9])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(JaxepiError, match=r"none\.fa"):
        Genome(tmp_path / "none.fa")
