"""Regions as one names them, and the windows that they get."""

import pytest

from jaxepi.analysis.bins.places import Place, places_of_genes, read_regions, windows_told
from jaxepi.analysis.bins.plan import BinPlan
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Interval, Intervals
from jaxepi.task import Grid

HG38 = {"chr2": 242_193_529, "chr10": 133_797_422}
EPIFORMER = Grid("bin", bin=128, crop=64 * 128), 98_304


def test_commas_part_regions_and_thousands():
    text = "chr2:127,068,747-127,150,006,chr1:5-10, HLA-A*01:01:1:7-9"
    places = read_regions([text, "c:1-2"])
    assert [str(place) for place in places] == ["chr2:127068747-127150006", "chr1:5-10", "HLA-A*01:01:1:7-9", "c:1-2"]
    for wrong in ("chr2", "chr2:9-5", "chr1:1-2,x"):
        with pytest.raises(JaxepiError, match="is no region: expected chrom:start-end"):
            read_regions([wrong])


# windows that the original's notebooks print for these regions of hg38
@pytest.mark.parametrize(
    ("region", "window"),
    [
        ("chr2:127068747-127150006", "chr2:127060224-127158528"),
        ("chr10:80426429-80517820", "chr10:80422972-80521276"),
        ("chr2:127130178-127140162", "chr2:127086018-127184322"),
    ],
)
def test_windows_are_centred_as_those_of_the_original(region, window):
    places = read_regions([region])
    whole = BinPlan(Intervals.of([places[0].interval]), HG38, *EPIFORMER, site_length=640 * 128)
    assert windows_told(places, whole)[0].startswith(f"{region}: window {window}, bins ")
    usual = BinPlan(Intervals.of([places[0].interval]), HG38, *EPIFORMER)
    longer = places[0].interval.length > 640 * 128  # than what one window predicts
    assert len(usual) == 1 + longer and (windows_told(places, usual)[0] == windows_told(places, whole)[0]) != longer


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">chr1\n" + "ACGT" * 25 + "\n")
    return Genome(tmp_path / "g.fa")


def gtf(folder, *rows):
    line = '{}\tx\ttranscript\t{}\t{}\t.\t{}\t.\tgene_id "{}"; transcript_id "{}.1";\n'
    (folder / "g.gtf").write_text("".join(line.format(*row, row[-1]) for row in rows))
    return folder / "g.gtf"


def test_a_gene_is_the_base_of_its_start_site(genome, tmp_path):
    path = gtf(tmp_path, ("chr1", 11, 60, "-", "A"), ("chr1", 11, 50, "-", "A"), ("chr1", 21, 60, "+", "B"))
    a, b = places_of_genes(["A", "B"], path, genome)
    assert a == Place(Interval("chr1", 59, 60), "A", 59, True, 1) and b.interval == ("chr1", 20, 21)
    assert (str(a), a.about) == ("A", "A, TSS chr1:59 (-, one of 2 start sites)")
    plan = BinPlan(Intervals.of([b.interval]), genome.lengths, Grid("bin", bin=10, crop=10), 60)
    assert windows_told([b], plan) == ["B, TSS chr1:20 (+): window chr1:-10-50, bins chr1:0-40"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("1", 1, 9, "+", "A"), r"g\.gtf, gene 'A', names '1' where .*g\.fa has 'chr1'"),
        (
            ("chr7", 1, 9, "+", "A"),
            r"g\.gtf, gene 'A', names 'chr7', which is not in .*g\.fa \(did you mean 'chr1'\?\)",
        ),
        (("chr1", 101, 109, "+", "A"), r"has the gene 'A' at chr1:100-101, but chr1 has 100 bp in .*g\.fa"),
    ],
)
def test_a_gene_outside_the_genome_is_one_sentence(genome, tmp_path, row, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        places_of_genes(["A"], gtf(tmp_path, row), genome)
