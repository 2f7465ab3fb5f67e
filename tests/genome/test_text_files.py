"""The one reader of text: what it takes, and one sentence with file and line for what it does not."""

import gzip

import pytest

from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import BOM, read_bed, read_lines

BED = b"#c\nchrom\tstart\tend\n\ntrack name=x\nbrowser hide all\nchr1\t1\t5\ta b\nchr2 3 9 +\nchr1,7,8\n"
ROWS = [(6, ("chr1", 1, 5), ["a b"]), (7, ("chr2", 3, 9), ["+"]), (8, ("chr1", 7, 8), [])]


def gzipped(content: bytes) -> bytes:
    """The same bytes whenever it is called."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize("name", ["r.bed", "r.bed.gz", "r.bed.bgz"])
@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_tell_what_a_file_is_not_its_name(tmp_path, name, mark, zipped):
    path = tmp_path / name

    def pack(text):
        return gzipped(mark + text) if zipped else mark + text

    path.write_bytes(pack(BED))
    assert [tuple(row) for row in read_bed(path)] == ROWS
    path.write_bytes(pack(BED.replace(b"\n", b"\r\n")))
    assert [tuple(row) for row in read_bed(path)] == ROWS
    assert [row.interval.chrom for row in read_bed(path, "strip")] == ["1", "2", "1"]


def test_block_gzipped(tmp_path):
    pysam = pytest.importorskip("pysam")
    (tmp_path / "r.bed").write_bytes(BED)
    pysam.tabix_compress(str(tmp_path / "r.bed"), str(tmp_path / "r"))
    assert [tuple(row) for row in read_bed(tmp_path / "r")] == ROWS


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzipped(b"chr1 1 5\n" * 5000)[:-9], "cannot be read to its end"),
        (gzipped(BED)[:15], "cannot be read to its end"),
        (gzipped(BED)[:12] + b"\x00\xff" * 40, "cannot be read to its end"),
        (gzipped(gzipped(BED)), "line 1 is no text"),
        (b"chr1 1 5\nchr\xff 2 3\n", "line 2 is no text"),
        (b"chr1\t1\t5\nchr1\t\t9\n", "line 2: '' and '9' should be whole numbers"),
        (b"chr1 1 5\nchr1 7\n", r"line 2 has 2 column\(s\)"),
        (b"chr1 1 5\nchr1 2 3\0\n", r"line 2 is no text \(a zero byte\)"),
        (b"chr1 5 5\n", "line 1: chr1:5-5 is no interval"),
        (b"chr1 1 99999999999999999999\n", "line 1: chr1:1-9+ is no interval"),
        (b"chr1 1_0 20\n", "line 1: '1_0' and '20' should be whole numbers"),
        (b"a b c\na b c\n", "line 2: 'b' and 'c' should be whole numbers"),
    ],
)
def test_one_sentence_with_file_and_line(tmp_path, content, problem):
    path = tmp_path / "r.bed.gz"
    path.write_bytes(content)
    with pytest.raises(JaxepiError, match=rf"r\.bed\.gz {problem}") as caught:
        list(read_bed(path))
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(JaxepiError, match=r"no\.bed does not exist: a BED file was expected"):
        list(read_bed(tmp_path / "no.bed"))
    with pytest.raises(JaxepiError, match=r"is a folder: a table was expected"):
        list(read_lines(tmp_path, "a table"))
