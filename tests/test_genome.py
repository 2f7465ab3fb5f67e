import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxepi import sequence
from jaxepi.errors import JaxepiError
from jaxepi.genome import Genome

TEXT = ">chr1 first\nACGTACGTAC\nGTNNacgt\n>chr2\nRYGG\n"


@pytest.fixture
def fasta(tmp_path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text(TEXT)
    return path


def test_letters_and_lengths(fasta):
    genome = Genome(fasta)
    assert genome.lengths == {"chr1": 18, "chr2": 4} and genome.names == ["chr1", "chr2"] and "chr2" in genome
    assert sequence.decode(genome.codes("chr1")) == "ACGTACGTACGTNNACGT"
    assert sequence.decode(genome.codes("chr1", 8, 13)) == "ACGTN"
    assert sequence.decode(genome.codes("chr2")) == "NNGG"
    assert genome.codes("chr1", 5, 5).shape == (0,)


@pytest.mark.parametrize(
    ("start", "end", "letters"),
    [(-2, 2, "NNGG"), (2, 6, "GGNN"), (-1, 5, "NGGGGN"), (-5, -2, "NNN"), (10, 12, "NN"), (0, 4, "GGGG")],
)
def test_padding_with_n(tmp_path, start, end, letters):
    (tmp_path / "g.fa").write_text(">c\nGGGG\n")
    genome = Genome(tmp_path / "g.fa")
    assert sequence.decode(genome.codes("c", start, end, pad=True)) == letters
    if (start, end) != (0, 4):
        with pytest.raises(JaxepiError, match=rf"c:{start}-{end} is not inside c of .*4 bp"):
            genome.codes("c", start, end)


def test_names_in_another_style_are_told(fasta):
    genome = Genome(fasta)
    with pytest.raises(JaxepiError, match=r"peaks\.bed names '1' where .*genome\.fa has 'chr1'"):
        genome.require(["chr1", "1"], "peaks.bed")
    with pytest.raises(JaxepiError, match=r"'chr11', which is not in .* \(did you mean 'chr1'\?\); its contigs are"):
        genome.codes("chr11")
    genome.require(["chr1", "chr2"], "peaks.bed")


def test_block_gzipped(fasta):
    pysam = pytest.importorskip("pysam")
    pysam.tabix_compress(str(fasta), f"{fasta}.gz")
    genome = Genome(f"{fasta}.gz")
    assert sequence.decode(genome.codes("chr1", 8, 13)) == "ACGTN"
    assert {path.name for path in fasta.parent.iterdir()} == {
        "genome.fa", "genome.fa.gz", "genome.fa.gz.fai", "genome.fa.gz.gzi",
    }  # fmt: skip


def test_plain_gzip_missing_empty_double_and_foreign_files(tmp_path):
    (tmp_path / "g.fa.gz").write_bytes(gzip.compress(TEXT.encode()))
    with pytest.raises(JaxepiError, match=r"g\.fa\.gz is gzipped in one piece.*bgzip"):
        Genome(tmp_path / "g.fa.gz")
    with pytest.raises(JaxepiError, match="There is no FASTA file"):
        Genome(tmp_path / "none.fa")
    for name, text in {"empty.fa": "", "foreign.fa": "a,b\n1,2\n", "double.fa": ">a\nAC\n>a\nGT\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(JaxepiError, match=name):
            Genome(tmp_path / name)
        assert not (tmp_path / f"{name}.fai").exists()


def test_an_older_index_is_replaced(fasta):
    Genome(fasta)
    fasta.write_text(">new\n" + "ACGT" * 30 + "\n")
    os.utime(f"{fasta}.fai", (1, 1))
    assert Genome(fasta).lengths == {"new": 120}


def test_a_folder_without_permission_gets_its_index_in_the_cache(fasta, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    refuse_writing(monkeypatch, lambda path: path.parent == fasta.parent)
    assert Genome(fasta).codes("chr2").size == 4
    assert not Path(f"{fasta}.fai").exists()
    assert len(list((tmp_path / "cache").rglob("*.fai"))) == 1
    monkeypatch.setattr("jaxepi.genome._build_index", None)  # the second time it is there
    assert Genome(fasta).codes("chr2").size == 4


def test_no_permission_anywhere_is_one_sentence(fasta, monkeypatch):
    refuse_writing(monkeypatch, lambda path: True)
    with pytest.raises(JaxepiError, match="has no index, and one can be written neither beside it nor to.*faidx"):
        Genome(fasta)
    assert list(fasta.parent.iterdir()) == [fasta]


def refuse_writing(monkeypatch, where) -> None:
    """Permissions do not bind root, so the refusal is played."""

    def copy(source, place):
        if where(Path(place)):
            raise PermissionError(13, "Permission denied")
        Path(place).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr("jaxepi.genome.shutil.copyfile", copy)


def test_it_can_be_sent_to_another_process(fasta):
    assert pickle.loads(pickle.dumps(Genome(fasta))).codes("chr2").tolist() == [4, 4, 2, 2]


def test_a_shortened_file_is_told(fasta):
    genome = Genome(fasta)
    os.truncate(fasta, 20)
    os.utime(fasta, (1, 1))
    with pytest.raises(JaxepiError, match="truncated"):
        genome.codes("chr1")
    np.testing.assert_array_equal(genome.codes("chr1", 0, 2), [0, 1])
