import math

import pytest

from data_prep.chromoformer.gene_table import Gene, check_folds, check_inside, read_metadata, write_metadata
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, parse_interval

HEADER = "gene_id,expression,eid,label,chrom,start,end,strand,split,neighbors,scores\n"
GOOD = "G1,2.5,E003,1,chr1,500,501,-,1,chr1:900-1000;chr2:5-10,3.1;1.6\n"


@pytest.fixture
def table(tmp_path):
    def write(*rows, header=HEADER):
        path = tmp_path / "meta.csv"
        path.write_text(header + "".join(rows))
        return path

    return write


def test_a_row(table):
    (gene,) = read_metadata(table(GOOD))
    regions = (Interval("chr1", 900, 1000), Interval("chr2", 5, 10))
    assert gene == Gene("G1", "chr1", 500, True, 1, 2.5, 1, regions, (3.1, 1.6))


def test_neighbours_come_best_first(table):
    (gene,) = read_metadata(table(GOOD.replace("3.1;1.6", "1.6;3.1")))
    assert gene.scores == (3.1, 1.6) and gene.neighbors[0] == Interval("chr2", 5, 10)


def test_expression_and_label_may_be_unknown(table):
    path = table("G1,chr1,500,+,2,,\n", header="gene_id,chrom,start,strand,split,neighbors,scores\n")
    (gene,) = read_metadata(path)
    assert math.isnan(gene.expression) and gene.label == -1 and gene.neighbors == ()


def test_epigenome_is_chosen(table):
    path = table(GOOD, GOOD.replace("E003", "E114").replace("2.5", "7"))
    assert [gene.expression for gene in read_metadata(path, "E114")] == [7.0]
    with pytest.raises(JaxepiError, match=r"gene G1 twice \(again in line 3\): choose .* --eid \(E003, E114\)"):
        read_metadata(path)
    with pytest.raises(JaxepiError, match="no row of the epigenome 'E1': its column eid holds E003, E114"):
        read_metadata(path, "E1")
    with pytest.raises(JaxepiError, match="twice .* list each gene once"):
        read_metadata(table(GOOD, GOOD))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (";1.6", "", "has 2 neighbors and 1 scores"),
        ("chr2:5-10", "chr2:10-5", "wrong neighbour: 'chr2:10-5'"),
        (";1.6", ";high", "has the score 'high'"),
        ("E003,1", "E003,2", "has the label 2: 0 or 1"),
        ("G1,2.5", "G1,-2", "has the expression '-2'"),
        ("G1,2.5", "G1,lots", "has the expression 'lots'"),
        (",500,", ",-500,", "has the start '-500'"),
        (",500,", ",x,", "has the start 'x'"),
        (",-,1,", ",-,5,", "has the split 5: a fold from 1 to 4"),
        (",-,1,", ",.,1,", "has the strand '.'"),
        ("G1", "", r"gene \(no id\) in .* lacks its gene_id"),
    ],
)
def test_wrong_rows_name_gene_and_file(table, old, new, sentence):
    assert old in GOOD
    with pytest.raises(JaxepiError, match=sentence) as raised:
        read_metadata(table(GOOD.replace(old, new)))
    assert str(raised.value).startswith("gene ") and "meta.csv (line 2)" in str(raised.value)


def test_long_neighbour(table):
    path = table(GOOD)
    assert read_metadata(path, max_pcre_length=100)
    with pytest.raises(
        JaxepiError, match=r"gene G1 in .*meta\.csv has the neighbour chr1:900-1000 of 100 bp, but .*99"
    ):
        read_metadata(path, max_pcre_length=99)


def test_folds_must_not_share_a_chromosome(table):
    path = table(GOOD, GOOD.replace("G1", "G2").replace("-,1", "-,2"))
    with pytest.raises(JaxepiError, match=r"chr1 is in two folds of .*: gene G1 is in split 1 and gene G2 in split 2"):
        check_folds(read_metadata(path), path)
    check_folds(read_metadata(table(GOOD)), path)


def test_start_site_and_neighbours_lie_on_chromosomes(table):
    path = table(GOOD)
    genes = read_metadata(path)
    check_inside(genes, {"chr1": 1000, "chr2": 10}, path, path)
    with pytest.raises(JaxepiError, match="gene G1 of .* has its start site 500 on chr1, but chr1 is 500 bp long"):
        check_inside(genes, {"chr1": 500, "chr2": 10}, path, path)
    with pytest.raises(JaxepiError, match="has its neighbour chr2:5-10 on chr2, but chr2 is 9 bp"):
        check_inside(genes, {"chr1": 1000, "chr2": 9}, path, path)
    with pytest.raises(JaxepiError, match=r"on chr1, which .* lacks \(it has 1, 2 …\)"):
        check_inside(genes, {"1": 1000, "2": 10}, path, path)


def test_written_tables_read_back(table, tmp_path):
    genes = read_metadata(table(GOOD, "G2,,,,chr1,7,8,+,1,,\n"))
    write_metadata(tmp_path / "out.csv", genes, "E003")
    assert (tmp_path / "out.csv").read_text() == HEADER + GOOD + "G2,,E003,,chr1,7,8,+,1,,\n"
    assert str(read_metadata(tmp_path / "out.csv")) == str(genes)  # NaN differs from itself
    with pytest.raises(JaxepiError, match="cannot be written"):
        write_metadata(tmp_path / "no" / "out.csv", genes, "E003")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["meta.csv", "out.csv"]


@pytest.mark.parametrize("text", ["chr1", "chr1:5", "chr1:5-5", "chr1:5-x", ""])
def test_no_regions(text):
    with pytest.raises(ValueError, match="is no region"):
        parse_interval(text)
