import gzip

import pytest

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError
from jaxepi.genome.text_files import read_lines


def test_commas_tabs_and_gzip_read_alike(tmp_path):
    comma, tab = tmp_path / "a.csv", tmp_path / "b.tsv.gz"
    comma.write_text('x,y\n1,"2, 3"\n\n4,\n')
    tab.write_bytes(gzip.compress(b"x\ty\r\n1\t2, 3\t\r\n4\r\n"))
    rows = [{"x": "1", "y": "2, 3"}, {"x": "4", "y": ""}]
    assert [row for _, row in read_rows(comma)] == rows
    assert [row for _, row in read_rows(tab, ("x", "y"))] == [rows[0], {"x": "4", "y": ""}]
    assert [number for number, _ in read_rows(comma)] == [2, 4]


def test_wrong_tables(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("gene,strand\na,+,chr1\n")
    with pytest.raises(JaxepiError, match=r"t\.csv line 2 has 3 cells, but its header has 2"):
        list(read_rows(path))
    with pytest.raises(JaxepiError, match=r"no column 'genes' \(did you mean 'gene'\?\): it has gene, strand"):
        list(read_rows(path, ("genes",)))
    path.write_text("\n")
    with pytest.raises(JaxepiError, match="is empty"):
        list(read_rows(path))
    with pytest.raises(JaxepiError, match=r"no\.csv does not exist"):
        list(read_lines(tmp_path / "no.csv"))


def test_damaged_gzip(tmp_path):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"x\ty\n" * 10_000)[:-20])
    with pytest.raises(JaxepiError, match=r"t\.tsv\.gz cannot be read to its end"):
        list(read_lines(path))
