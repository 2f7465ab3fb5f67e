import gzip

import numpy as np
import pytest

from data_prep.deepcpg.sequences import Sequences, fasta_files, random_bases, unpacked
from jaxepi.errors import JaxepiError
from jaxepi.sequence import decode


def test_folder_of_files_some_gzipped_in_one_piece(tmp_path):
    folder, scratch = tmp_path / "dna", tmp_path / "scratch"
    folder.mkdir(), scratch.mkdir()
    (folder / "toy.dna.chromosome.1.fa").write_text(">1 dna\nACGTacgt\n")
    (folder / "toy.dna.chromosome.X.fa.gz").write_bytes(gzip.compress(b">X dna\nTTTT\nCG\n"))
    (folder / "README").write_text("nothing")
    files = fasta_files(folder)
    sequences = Sequences(unpacked(files, scratch), "add")
    assert sequences.lengths == {"chr1": 8, "chrX": 6}
    assert decode(sequences.codes("chrX", -1, 8)) == "NTTTTCGNN"
    (folder / "again.fa").write_text(">X\nAAAA\n")
    with pytest.raises(JaxepiError, match=r"has chromosome 'chrX', and so has .*again\.fa"):
        Sequences(unpacked(fasta_files(folder), scratch), "add")


def test_missing_and_damaged(tmp_path):
    with pytest.raises(JaxepiError, match="does not exist: a FASTA file or a folder"):
        fasta_files(tmp_path / "none")
    with pytest.raises(JaxepiError, match="holds no FASTA file"):
        fasta_files(tmp_path)
    (tmp_path / "x.fa.gz").write_bytes(gzip.compress(b">1\n" + b"ACGT" * 100)[:-9])
    with pytest.raises(JaxepiError, match=r"x\.fa\.gz cannot be unpacked"):
        unpacked([tmp_path / "x.fa.gz"], tmp_path)


def test_pieces(tmp_path):
    path = tmp_path / "p.fa"
    path.write_text(">chr1:3-6\nACGT\n>chr1:11-12\nCG\n>chr2:1-2\nTT\n")
    sequences = Sequences([path], pieces=True)
    assert sequences.lengths == {"chr1": 12, "chr2": 2}
    assert decode(sequences.codes("chr1", -1, 13)) == "NNNACGTNNNNCGN"
    path.write_text(">chr1:3-7\nACGT\n")
    (tmp_path / "p.fa.fai").unlink(missing_ok=True)
    with pytest.raises(JaxepiError, match="has the record 'chr1:3-7' of 4 bp"):
        Sequences([path], pieces=True)


def test_windows_however_far_apart(tmp_path, tools, monkeypatch):
    codes = {"c": tools.random_codes(np.random.default_rng(0), 3000)}
    sequences = Sequences([tools.write_fasta(tmp_path / "g.fa", codes)])
    sites = np.array([0, 1, 5, 400, 401, 2000, 2999], np.int32)
    padded = np.pad(codes["c"], 50, constant_values=4)
    want = np.stack([padded[s + 50 - 20 : s + 50 + 21] for s in sites])
    for bridge, longest in ((20_000, 1 << 20), (100, 1 << 20), (0, 1), (20_000, 3)):
        monkeypatch.setattr("data_prep.deepcpg.sequences._WORTH_BRIDGING", bridge)
        monkeypatch.setattr("data_prep.deepcpg.sequences._LONGEST_READ", longest)
        np.testing.assert_array_equal(sequences.windows("c", sites, 41), want)


def test_random_bases_go_on_where_they_stopped():
    codes = np.full((6, 5), 4, np.uint8)
    codes[0, 0] = 1
    whole = random_bases(codes, 0, 0)
    assert whole[0, 0] == 1
    np.testing.assert_array_equal(np.concatenate([random_bases(codes[:2], 0, 0), random_bases(codes[2:], 0, 9)]), whole)
