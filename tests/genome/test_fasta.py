import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxepi import sequence
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.genome.text_files import BOM

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
    monkeypatch.setattr("jaxepi.genome.fasta_index._build_index", None)  # the second time it is there
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

    monkeypatch.setattr("jaxepi.genome.fasta_index.shutil.copyfile", copy)


def test_it_can_be_sent_to_another_process(fasta):
    assert pickle.loads(pickle.dumps(Genome(fasta))).codes("chr2").tolist() == [4, 4, 2, 2]


def test_a_shortened_file_is_told(fasta):
    genome = Genome(fasta)
    os.truncate(fasta, 20)
    os.utime(fasta, (1, 1))
    with pytest.raises(JaxepiError, match="truncated"):
        genome.codes("chr1")
    np.testing.assert_array_equal(genome.codes("chr1", 0, 2), [0, 1])


LONG = ">chr1 first\n" + "ACGTACGTAC\n" * 30 + "ACG\n>chr2\n" + "GGGGGGGGGG\n" * 12 + ">chr3 x\nTTTT\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [
        "chr1\t303\t12\t10\t11\nchr2\t120\t352\t10\t11\n",  # a contig is missing
        "chr2\t303\t12\t10\t11\nchr1\t120\t352\t10\t11\nchr3\t4\t492\t4\t5\n",  # names exchanged
        "chr1\t303\t13\t10\t11\nchr2\t120\t352\t10\t11\nchr3\t4\t492\t4\t5\n",  # an offset
        "chr1\t303\t11\t10\t11\nchr2\t120\t352\t10\t11\nchr3\t4\t492\t4\t5\n",
        "chr1\t303\t12\t10\t11\nchr2\t120\t352\t10\t11\nchr3\t3\t492\t4\t5\n",  # a length
        "chr1\t303\t12\t10\t11\nchr2\t120\t352\t10\t11\nchr3\t5000\t492\t4\t5\n",
        "chr1\t303\t12\t11\t12\nchr2\t120\t352\t10\t11\nchr3\t4\t492\t4\t5\n",  # a width of lines
        "chr1\t303\n",
        "no index\n",
        "",
    ],
)
def test_a_newer_index_of_another_file_is_not_believed(tmp_path, wrong, packed):
    path = tmp_path / "g.fa"
    path.write_text(LONG)
    if packed:
        pysam = pytest.importorskip("pysam")
        pysam.tabix_compress(str(path), f"{path}.gz")
        path = tmp_path / "g.fa.gz"
    right = Genome(path)
    Path(f"{path}.fai").write_text(wrong)
    genome = Genome(path)
    assert genome.lengths == right.lengths == {"chr1": 303, "chr2": 120, "chr3": 4}
    assert (
        sequence.decode(genome.codes("chr1", 298, 303)) == "ACACG" and sequence.decode(genome.codes("chr3")) == "TTTT"
    )
    assert Path(f"{path}.fai").read_text() != wrong


def test_a_right_index_is_left_alone(tmp_path, monkeypatch):
    for text in (LONG, LONG.rstrip("\n"), LONG.replace("\n", "\r\n"), LONG + "\n", ">a\n\n>b\nAC\n", ">b\nAC\n>a\n"):
        (tmp_path / "g.fa").write_bytes(text.encode())
        for place in tmp_path.glob("*.fai"):
            place.unlink()
        lengths = Genome(tmp_path / "g.fa").lengths
        with monkeypatch.context() as patch:
            patch.setattr("jaxepi.genome.fasta_index._build_index", None)
            assert Genome(tmp_path / "g.fa").lengths == lengths


def test_letters_that_are_no_bases_are_named_with_file_and_place(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGT\n>b\nACGTACGT\nAC-T\n>u\nacgu\n")
    genome = Genome(tmp_path / "g.fa")
    assert sequence.decode(genome.codes("u")) == "ACGT" and sequence.decode(genome.codes("b", 0, 10)) == "ACGTACGTAC"
    with pytest.raises(JaxepiError, match=r"g\.fa has the letter '-' at b:10-11: bases in IUPAC's letters"):
        genome.codes("b", 8, 12)


def test_many_ambiguity_codes_are_counted_and_told_once(tmp_path, capsys):
    (tmp_path / "g.fa").write_text(">a\n" + "ACGT" * 25 + "\n" + "ACGR" * 25 + "\n" + "N" * 100 + "\n")
    genome = Genome(tmp_path / "g.fa")
    genome.codes("a", 0, 104)
    genome.codes("a", 200, 300)
    assert capsys.readouterr().err == ""
    genome.codes("a", 100, 200)
    genome.codes("a", 100, 200)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "of 304 bases read from" in lines[0] and "a:100-200, 26 are ambiguity codes" in lines[0]


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("damage", ["cut", "cut early", "zeros", "noise", "plain", "empty"])
def test_damaged_block_gzip_is_one_sentence(tmp_path, damage, indexed):
    pysam = pytest.importorskip("pysam")
    rng = np.random.default_rng(0)
    text = ">chr1\n" + "".join(f"{sequence.decode(rng.integers(0, 4, 60))}\n" for _ in range(4000)) + ">chr2\nACGT\n"
    (tmp_path / "g.fa").write_text(text)
    path = tmp_path / "g.fa.gz"
    pysam.tabix_compress(str(tmp_path / "g.fa"), str(path))
    if indexed:
        Genome(path)
    raw = path.read_bytes()
    noise = rng.integers(0, 256, 500).astype(np.uint8).tobytes()
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "cut early": raw[:20],
            "zeros": raw[:30_000] + bytes(500) + raw[30_500:],
            "noise": raw[:30_000] + noise + raw[30_500:],
            "plain": text.encode(),
            "empty": b"",
        }[damage]
    )
    os.utime(path, (1, 1))  # the index stays newer
    with pytest.raises(JaxepiError, match=r"g\.fa\.gz") as caught:
        Genome(path).codes("chr1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", [LONG, LONG.replace("\n", "\r\n"), ">a\n\n>b\nAC", "; comment\n" + LONG])
def test_a_byte_order_mark_changes_nothing(tmp_path, text, packed, monkeypatch):
    found = []
    for mark in (b"", BOM):
        path = tmp_path / f"g{len(mark)}.fa"
        path.write_bytes(mark + text.encode())
        if packed:
            pytest.importorskip("pysam").tabix_compress(str(path), f"{path}.gz")
            path = tmp_path / f"g{len(mark)}.fa.gz"
        genome = Genome(path)
        found.append({name: sequence.decode(genome.codes(name)) for name in genome.names})
        with monkeypatch.context() as patch:
            patch.setattr("jaxepi.genome.fasta_index._build_index", None)  # the index that was made fits
            assert Genome(path).lengths == genome.lengths
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (">a\nACGT\r\nACGTA\nACGT\r\n>b\nAC\n", 3),
        (">a\nACGT\r\nACGT\n>b\nAC\n", 3),
        (">a\nACGT\nACGTA\n", 3),
        (">a\nACGT\nAC\nACGT\n", 4),
        (">a\nACGT\n\nACGT\n", 4),
        (">a\n\nACGT\n", 3),
    ],
)
def test_lines_by_which_bases_cannot_be_counted_are_told(tmp_path, text, line):
    (tmp_path / "g.fa").write_bytes(text.encode())
    with pytest.raises(JaxepiError, match=rf"g\.fa line {line}: the lines of record a differ in length or in how they"):
        Genome(tmp_path / "g.fa")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"ACGT\n>a\nAC\n", "line 1 is no FASTA: a header"),
        (b">a\nAC\n> \nAC\n", "line 3 is a header without a name"),
        (b">\xff\xfe\nAC\n", "line 1 is a header without a name"),
        (b">a\nAC\n>a x\nAC\n", "cannot be read as FASTA .Duplicate key"),
    ],
)
def test_what_is_no_fasta_is_named_with_its_line(tmp_path, text, sentence):
    (tmp_path / "g.fa").write_bytes(text)
    with pytest.raises(JaxepiError, match=rf"g\.fa {sentence}"):
        Genome(tmp_path / "g.fa")


def test_counts_of_what_was_read(tmp_path):
    (tmp_path / "g.fa").write_text(">a\nACGTRYNN\n")
    genome = Genome(tmp_path / "g.fa")
    genome.codes("a", 0, 5)
    assert genome.take_counts() == (5, 1) and genome.take_counts() == (0, 0)
    genome.codes("a", 3, 20, pad=True)
    assert genome.take_counts() == (5, 2)
