"""Genes of a GTF by name: their start sites by strand, and one sentence for what is none, or several."""

import gzip

import pytest

from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import find_genes

CHROMS = ("chr1", "chr2")


def row(chrom, kind, start, end, strand, **attributes):
    told = " ".join(f'{name} "{value}";' for name, value in attributes.items())
    return f"{chrom}\tx\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{told}\n"


GTF = "".join(
    [
        "#!genome-build\n",
        row("chr2", "gene", 1, 9000, "-", gene_id="G1.7", gene_name="BIN1"),
        row("chr2", "transcript", 101, 400, "-", gene_id="G1.7", transcript_id="T1", gene_name="BIN1"),
        row("chr2", "transcript", 101, 900, "-", gene_id="G1.7", transcript_id="T2", gene_name="BIN1"),
        row("chr2", "exon", 1, 9000, "-", gene_id="G1.7", transcript_id="T2", gene_name="BIN1"),
        row("chr1", "transcript", 51, 80, "+", gene_id="G2", transcript_id="T3", gene_name="TWIN"),
        row("chr2", "transcript", 61, 90, "+", gene_id="G3", transcript_id="T4", gene_name="TWIN"),
        row("chr1", "transcript", 71, 90, "+", gene_id="G4", transcript_id="T5", gene_name="HAPLO"),
        row("chr1_alt", "transcript", 71, 90, "+", gene_id="G5", transcript_id="T6", gene_name="HAPLO"),
        row("chr1", "exon", 501, 600, "+", gene_id="YAL1", transcript_id="YAL1"),  # of exons alone, as some yeasts are
        row("chr1", "exon", 301, 400, "+", gene_id="YAL1", transcript_id="YAL1"),
        row("chr1", "exon", 701, 800, "-", gene_id="YAL2", transcript_id="YAL2", gene="CDC19"),
    ]
)


@pytest.fixture
def gtf(tmp_path):
    path = tmp_path / "genes.gtf.gz"
    path.write_bytes(gzip.compress(GTF.encode()))
    return path


def test_names_and_ids_give_start_sites_by_strand_the_longest_transcript_first(gtf):
    genes = find_genes(gtf, ["BIN1", "G1", "G1.7", "YAL1", "CDC19"], CHROMS)
    assert [gene.gene_id for gene in genes] == ["G1.7", "G1.7", "G1.7", "YAL1", "YAL2"]
    assert [site.position for site in genes[0].sites] == [899, 399] and genes[0].sites[0].minus
    assert genes[3].sites == (("chr1", 300, False),) and genes[4].sites == (("chr1", 799, True),)
    assert find_genes(gtf, ["HAPLO"], CHROMS)[0].gene_id == "G4"  # the other one lies on no chromosome of the genome


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("TWIN", r"has 2 genes called 'TWIN': G2 at chr1:50-51 \(\+\), G3 at chr2:60-61 \(\+\); name one by a gene_id"),
        ("bin1", r"has no gene 'bin1' \(did you mean 'BIN1'\?\): a gene_name or a gene_id"),
        ("CDC18", r"has no gene 'CDC18' \(did you mean 'CDC19'\?\)"),
        ("XXXXXXXX", "has no gene 'XXXXXXXX': a gene_name"),
    ],
)
def test_a_name_that_is_no_gene_or_several_is_one_sentence(gtf, name, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        find_genes(gtf, ["BIN1", name], CHROMS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no row `transcript` or `exon`"),
        ("chr1\t1\t2\n", "line 1 has 3 cells: GTF with nine"),
        (
            row("chr1", "exon", 5, 1, "+", gene_id="BIN1"),
            "line 1 lacks gene_id, start or end, or chromosome of its exon",
        ),
        (row("chr1", "exon", 1, 5, ".", gene_id="BIN1"), r"line 1 has the strand '\.'"),
    ],
)
def test_what_is_no_gtf_is_told(tmp_path, text, sentence):
    (tmp_path / "a.gtf").write_text(text)
    with pytest.raises(JaxepiError, match=sentence):
        find_genes(tmp_path / "a.gtf", ["BIN1"], CHROMS)
    with pytest.raises(JaxepiError, match=r"none\.gtf does not exist: a GTF file was expected"):
        find_genes(tmp_path / "none.gtf", ["BIN1"], CHROMS)
