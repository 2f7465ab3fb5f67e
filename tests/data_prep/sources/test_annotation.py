import re

import pytest

from data_prep.sources.annotation import Tss, gene_name, read_gtf, read_tss_table
from jaxepi.errors import JaxepiError


def line(start, end, strand, gene, kind="protein_coding", chrom="1", feature="transcript", key="transcript_type"):
    return f'{chrom}\tsrc\t{feature}\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; {key} "{kind}";\n'


def test_longest_coding_transcript_first(tmp_path):
    path = tmp_path / "a.gtf"
    path.write_text(
        "#!header\n"
        + line(1, 9000, "+", "A.4", feature="gene")
        + line(101, 400, "+", "A.4")
        + line(201, 900, "+", "A.4")
        + line(301, 600, "+", "A.4")  # as long as the first
        + line(101, 500, "+", "A.4", "retained_intron")
        + line(51, 800, "-", "B.1_PAR_Y", key="transcript_biotype")
    )
    sites = read_gtf(path, prefix="add")
    assert [site.position for site in sites["A"]] == [200, 100, 300]
    assert sites["B_PAR_Y"] == [Tss("chr1", 799, True)]
    assert set(read_gtf(path, versions="keep")) == {"A.4", "B.1_PAR_Y"}
    assert len(read_gtf(path, biotype="all")["A"]) == 3  # a start site counts once
    assert str(sites["A"][0]) == "chr1:200-201"


def test_wrong_gtf(tmp_path):
    path = tmp_path / "a.gtf"
    path.write_text("chr1\t5\t6\n")
    with pytest.raises(JaxepiError, match=r"a\.gtf line 1 has 3 cells"):
        read_gtf(path)
    path.write_text(line(1, 9, "+", "A", "lncRNA"))
    with pytest.raises(JaxepiError, match="only transcripts of the biotypes lncRNA: .* --biotype protein_coding"):
        read_gtf(path)
    path.write_text(line(1, 9, "+", "A", feature="exon"))
    with pytest.raises(JaxepiError, match="no row `transcript`"):
        read_gtf(path)
    path.write_text(line("x", 9, "+", "A"))
    with pytest.raises(JaxepiError, match="line 1 lacks gene_id, start or end"):
        read_gtf(path)


def test_table_keeps_its_order(tmp_path):
    path = tmp_path / "tss.tsv"
    path.write_text("gene_id\tchrom\tstart\tstrand\nA\tchr1\t500\t+\nB\tchr2\t7\t-\nA\tchr1\t100\t+\n")
    sites = read_tss_table(path, prefix="strip")
    assert [site.position for site in sites["A"]] == [500, 100] and sites["B"] == [Tss("2", 7, True)]
    path.write_text("gene_id\tchrom\tstart\tstrand\nA\tchr1\t-500\t+\n")
    with pytest.raises(JaxepiError, match=r"line 2 \(gene A\) has start '-500'"):
        read_tss_table(path)
    path.write_text("gene_id\tchrom\tstart\tstrand\n")
    with pytest.raises(JaxepiError, match="lists no start site"):
        read_tss_table(path)


def test_versions():
    assert gene_name("ENSG01.15", "strip") == "ENSG01" == gene_name("ENSG01", "strip")
    assert gene_name("ENSG01.15", "keep") == "ENSG01.15"


def test_transcripts_without_a_biotype_are_chosen_by_all_only(tmp_path):
    path = tmp_path / "a.gtf"
    path.write_text(line(1, 9, "+", "A", key="note"))
    with pytest.raises(JaxepiError, match=r"a\.gtf has transcripts without a biotype .*: use --biotype all"):
        read_gtf(path)
    assert set(read_gtf(path, biotype="all")) == {"A"}
    path.write_text(line(1, 9, "+", "A", key="note") + line(1, 9, "+", "B"))
    assert set(read_gtf(path)) == {"B"}


@pytest.mark.parametrize(
    "text",
    [
        *(line(0, 9, "+", "A"), line(9, 5, "+", "A"), line(1, 9, "+", "")),
        line(1, 9, "+", "A").replace("gene_id", "gene") + line(1, 9, "+", "B"),
    ],
)
def test_transcripts_without_place_or_gene(tmp_path, text):
    (tmp_path / "a.gtf").write_text(text)
    with pytest.raises(JaxepiError, match=r"a\.gtf line 1 lacks gene_id, start or end"):
        read_gtf(tmp_path / "a.gtf")


@pytest.mark.parametrize("strand", ["", ".", "x"])
def test_transcripts_have_a_strand(tmp_path, strand):
    (tmp_path / "a.gtf").write_text(line(1, 9, strand, "A"))
    with pytest.raises(JaxepiError, match=rf"a\.gtf line 1 has the strand '{re.escape(strand)}'"):
        read_gtf(tmp_path / "a.gtf")


@pytest.mark.parametrize("row", ["\tchr1\t5\t+", "A\tchr1\t\t+", "A\tchr1\t²\t+", "A\tchr1\t5\t"])
def test_empty_cells_of_a_table_of_start_sites(tmp_path, row):
    (tmp_path / "t.tsv").write_text(f"gene_id\tchrom\tstart\tstrand\n{row}\n")
    with pytest.raises(JaxepiError, match=r"t\.tsv line 2 \(gene A?\) has start"):
        read_tss_table(tmp_path / "t.tsv")
