"""FASTA access: plain and block-gzipped, with and without an index, read-only folders, and bad files."""

import gzip
import os
import pickle
import shutil

import numpy as np
import pytest

from data_prep.genome import Genome
from jaxepi.errors import JaxepiError
from jaxepi.sequence import decode, encode


@pytest.fixture
def codes(tools):
    return {"chr1": tools.random_codes(np.random.default_rng(0), 5000), "chr2": encode("acgtNRYK" * 10)}


def bgzip(path):
    """Block-gzips a file with Biopython."""
    from Bio import bgzf

    packed = path.with_name(path.name + ".gz")
    with bgzf.BgzfWriter(str(packed)) as out:
        out.write(path.read_bytes())
    return packed


@pytest.mark.parametrize("packed", [False, True])
def test_codes_of_intervals(codes, packed, tools, tmp_path):
    path = tools.write_fasta(tmp_path / "g.fa", codes)
    genome = Genome(bgzip(path) if packed else path)
    assert genome.lengths == {"chr1": 5000, "chr2": 80}
    for start, end in [(0, 10), (55, 130), (4990, 5000), (0, 5000), (7, 7)]:
        np.testing.assert_array_equal(genome.codes("chr1", start, end), codes["chr1"][start:end])
    assert decode(genome.codes("chr2", 0, 8)) == "ACGTNNNN"
    again = pickle.loads(pickle.dumps(genome))
    np.testing.assert_array_equal(again.codes("chr1", 100, 200), codes["chr1"][100:200])


def test_outside_the_chromosome_is_n(codes, tools, tmp_path):
    genome = Genome(tools.write_fasta(tmp_path / "g.fa", codes))
    row = genome.codes("chr1", -5, 5005)
    assert len(row) == 5010 and (row[:5] == 4).all() and (row[-5:] == 4).all()
    np.testing.assert_array_equal(row[5:-5], codes["chr1"])
    assert genome.codes("chr1", 6000, 6010).tolist() == [4] * 10
    assert genome.codes("chr1", -20, -10).tolist() == [4] * 10


def test_prefix(codes, tools, tmp_path):
    path = tools.write_fasta(tmp_path / "g.fa", {"1": codes["chr1"], "MT": codes["chr2"]})
    assert list(Genome(path, "add").lengths) == ["chr1", "chrM"]
    np.testing.assert_array_equal(Genome(path, "add").codes("chr1", 3, 9), codes["chr1"][3:9])


@pytest.mark.parametrize("packed", [False, True])
def test_a_read_only_folder_without_index(codes, packed, tools, tmp_path, monkeypatch):
    folder = tmp_path / "ro"
    folder.mkdir()
    path = tools.write_fasta(folder / "g.fa", codes)
    path = bgzip(path) if packed else path
    before = sorted(os.listdir(folder))
    granted = os.access
    # Permissions do not stop the superuser, so the answer of the system is replaced.
    monkeypatch.setattr(
        os, "access", lambda p, mode: False if mode == os.W_OK and str(p).startswith(str(folder)) else granted(p, mode)
    )
    genome = Genome(path)
    np.testing.assert_array_equal(genome.codes("chr1", 10, 300), codes["chr1"][10:300])
    assert sorted(os.listdir(folder)) == before
    scratch = genome._index.parent
    del genome
    assert not scratch.exists()


def test_an_index_older_than_the_file_is_renewed(codes, tools, tmp_path):
    path = tools.write_fasta(tmp_path / "g.fa", codes)
    Genome(path)
    tools.write_fasta(path, {"chrZ": codes["chr1"]})
    os.utime(tmp_path / "g.fa.fai", (1, 1))
    assert list(Genome(path).lengths) == ["chrZ"]


def test_bad_files(codes, tools, tmp_path):
    path = tools.write_fasta(tmp_path / "g.fa", codes)
    plain = tmp_path / "plain.fa.gz"
    plain.write_bytes(gzip.compress(path.read_bytes()))
    renamed = tmp_path / "renamed.fa"
    shutil.copy(bgzip(path), renamed)
    text = tmp_path / "text.fa"
    text.write_text("hello\n")
    empty = tmp_path / "empty.fa"
    empty.write_text("")
    for bad, message in [
        (tmp_path / "none.fa", "does not exist"),
        (plain, "is not block-gzipped"),
        (renamed, "does not end in .gz"),
        (text, "is not a FASTA file"),
        (empty, "is not a FASTA file"),
    ]:
        with pytest.raises(JaxepiError, match=message):
            Genome(bad)
