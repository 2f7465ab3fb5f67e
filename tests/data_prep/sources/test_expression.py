import pytest

from data_prep.sources.expression import label_by_median, read_expression, read_gene_list
from jaxepi.errors import JaxepiError


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rpkm.tsv"
    path.write_text("gene_id\tE003\tE114\nA.2\t1.5\t0\t\nB\t0.0\t3\t\n")  # rows end with a tab, as Roadmap's do
    return path


def test_a_column(table):
    assert read_expression(table, "E003") == {"A": 1.5, "B": 0.0}
    assert read_expression(table, "E114", "keep") == {"A.2": 0.0, "B": 3.0}


def test_only_column(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("gene,tpm\nA,4\n")
    assert read_expression(path) == {"A": 4.0}


def test_wrong_tables(table):
    with pytest.raises(JaxepiError, match=r"2 columns of values \(E003, E114\): choose one"):
        read_expression(table)
    with pytest.raises(JaxepiError, match=r"no column 'E03' \(did you mean 'E003'\?\)"):
        read_expression(table, "E03")
    text = table.read_text()
    table.write_text(text.replace("1.5", "-1.5"))
    with pytest.raises(JaxepiError, match=r"rpkm\.tsv line 2 gives gene A the expression '-1\.5'"):
        read_expression(table, "E003")
    table.write_text(text.replace("\nB", "\nA.3"))
    with pytest.raises(JaxepiError, match="lists gene A twice"):
        read_expression(table, "E003")
    table.write_text("gene_id\tE003\n")
    with pytest.raises(JaxepiError, match="lists no gene"):
        read_expression(table, "E003")


def test_gene_list(tmp_path):
    path = tmp_path / "genes.txt"
    path.write_text("ensg\nA.1\nB\n")
    assert read_gene_list(path) == {"A", "B"}
    path.write_text("A.1\tx\nB\ty\n")
    assert read_gene_list(path, "keep") == {"A.1", "B"}
    path.write_text("ensg\n")
    with pytest.raises(JaxepiError, match="lists no gene"):
        read_gene_list(path)


def test_the_median_itself_counts_as_high():
    assert label_by_median({"A": 1.0, "B": 5.0, "C": 9.0}) == {"A": 0, "B": 1, "C": 1}
    assert label_by_median({"A": 1.0, "B": 5.0}) == {"A": 0, "B": 1}


def test_empty_cells_are_told(tmp_path):
    path = tmp_path / "e.tsv"
    path.write_text("gene\tx\nA\t1\n\t2\n")
    with pytest.raises(JaxepiError, match=r"e\.tsv line 3 names no gene: an id in the column 'gene'"):
        read_expression(path)
    path.write_text("gene\tx\nA\t\n")
    with pytest.raises(JaxepiError, match=r"e\.tsv line 2 gives gene A the expression ''"):
        read_expression(path)
    path.write_text("A\n,x\n")
    with pytest.raises(JaxepiError, match=r"e\.tsv has an empty cell where a gene id was expected"):
        read_gene_list(path)
