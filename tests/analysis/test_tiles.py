import gzip

import pytest

from jaxepi.analysis.tiles import Records, Tiles, Window, read_bed, windows_of_batch
from jaxepi.errors import JaxepiError
from jaxepi.genome.fasta import Genome
from jaxepi.genome.intervals import Intervals


@pytest.fixture(scope="module")
def genome(fasta) -> Genome:
    return Genome(fasta)


@pytest.fixture
def bed(tmp_path):
    def write(text: str):
        (tmp_path / "r.bed").write_text(text)
        return tmp_path / "r.bed"

    return write


def windows(plan) -> list[tuple[str, int, int, int]]:
    return [(w.chrom, w.start, w.low, w.high) for w in (plan[i] for i in range(len(plan)))]


def tiles(genome, bed, text: str, repeat: bool = False) -> Tiles:
    return Tiles(read_bed(bed(text), genome), genome, 2000, repeat)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("chr1 4000 5000", 3500),  # centred
        ("chr1 4000 5001", 3500),  # an odd middle is rounded down
        ("chr1 4000 6000", 4000),  # exactly one window
        ("chr1 100 300", 0),  # would begin before the chromosome
        ("chr1 12800 12900", 11_000),  # would run over its end at 13,000
        ("chr2 0 10", 0),  # the chromosome is one window
        ("short 300 400", 0),  # the chromosome is shorter than a window
    ],
)
def test_a_region_that_fits_has_one_centred_window_inside_its_chromosome(genome, bed, line, start):
    chrom, low, high = line.split()
    assert windows(tiles(genome, bed, line)) == [(chrom, start, int(low), int(high))]


def test_longer_regions_are_tiled_and_the_last_tile_ends_with_the_region(genome, bed):
    text = "chr1 1000 7000\nchr1 100 4500\n"
    whole = [("chr1", 1000, 1000, 3000), ("chr1", 3000, 3000, 5000), ("chr1", 5000, 5000, 7000)]
    first = [("chr1", 100, 100, 2100), ("chr1", 2100, 2100, 4100)]
    assert windows(tiles(genome, bed, text)) == [*whole, *first, ("chr1", 2500, 4100, 4500)]
    assert windows(tiles(genome, bed, text, repeat=True)) == [*whole, *first, ("chr1", 2500, 2500, 4500)]


def test_reported_intervals_cover_each_region_once(genome, bed):
    text = "".join(f"chr1 {start} {start + span}\n" for start in (0, 77, 2500) for span in (1, 1999, 2001, 4000, 9999))
    plan = tiles(genome, bed, text)
    assert plan.regions == 15
    for region in range(plan.regions):
        parts = [w for w in (plan[i] for i in range(len(plan))) if w.region == region]
        start, end = map(int, text.splitlines()[region].split()[1:])
        assert parts[0].low == start and parts[-1].high == end
        assert all(a.high == b.low for a, b in zip(parts[:-1], parts[1:], strict=True))
        assert all(w.start <= w.low < w.high <= w.start + 2000 for w in parts)


def test_records_are_cropped_or_padded_in_the_middle(genome):
    plan = Records(genome, 2000)
    assert windows(plan) == [
        ("chr1", 5500, 5500, 7500),
        ("chr10", 1500, 1500, 3500),
        ("chr2", 0, 0, 2000),
        ("short", -650, 0, 700),
    ]
    assert plan.notes() == [
        "records longer than 2000 bp, of which only the centre is predicted: 2",
        "records shorter than 2000 bp, with N put on both sides: 1",
    ]


def test_moved_and_filled_windows_are_told(genome, bed):
    plan = tiles(genome, bed, "chr1 100 300\nchr1 12800 12900\nshort 1 9\nchr1 5000 5100\nchr1 0 5000\n")
    assert plan.notes() == [
        "windows moved inside their chromosome, so that the region is off centre: 2",
        "windows filled with N, on chromosomes shorter than 2000 bp: 1",
    ]
    assert tiles(genome, bed, "chr1 5000 5100").notes() == []


def test_batches_are_slices_of_the_plan(genome, bed):
    plan = tiles(genome, bed, "chr1 0 9000\n")
    assert [len(windows_of_batch(plan, batch, 2)) for batch in range(3)] == [2, 2, 1]
    assert windows_of_batch(plan, 2, 2) == [Window("chr1", 7000, 8000, 9000, 0)]


def test_what_a_bed_may_look_like(genome, bed, tmp_path):
    text = "chrom\tstart\tend\n#c\n\ntrack name=x\nchr1\t1\t5\tname,with,commas\nchr2 3 9 +\nchr1,7,8\n"
    expected = [(0, 1, 5), (2, 3, 9), (0, 7, 8)]
    (tmp_path / "r.bed.gz").write_bytes(gzip.compress(text.encode()))
    for path in (bed(text), tmp_path / "r.bed.gz"):
        read = read_bed(path, genome)
        assert isinstance(read, Intervals)
        assert list(zip(read.chrom_id.tolist(), read.start.tolist(), read.end.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("chr1 1 5\nchr1 7\n", r"r\.bed line 2 has 2 column\(s\)"),
        ("chr1 1 5\nchr1 a b\n", r"r\.bed line 2: 'a' and 'b' should be whole numbers"),
        ("chr1 1.5 7\n", r"r\.bed line 1: '1\.5' and '7'"),
        ("\nchr1 9 5\n", r"r\.bed line 2: chr1:9-5 is no interval"),
        ("chr1 5 5\n", r"line 1: chr1:5-5 is no interval"),
        ("chr1 -5 5\n", r"line 1: chr1:-5-5 is no interval"),
        ("chr2 1900 2001\n", r"line 1: chr2:1900-2001 reaches beyond chr2, 2000 bp in .*genome\.fa"),
        ("1 5 9\n", r"r\.bed line 1 names '1' where .*genome\.fa has 'chr1'"),
        ("chr3 5 9\n", r"r\.bed line 1 names 'chr3', which is not in .*genome\.fa \(did you mean"),
        ("# nothing\n", r"r\.bed holds no region"),
    ],
)
def test_a_bad_line_is_named_with_file_and_number(genome, bed, text, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        read_bed(bed(text), genome)


def test_missing_and_binary_files(genome, tmp_path):
    with pytest.raises(JaxepiError, match=r"none\.bed does not exist: a BED file"):
        read_bed(tmp_path / "none.bed", genome)
    (tmp_path / "bad.bed").write_bytes(b"\xff\xfe\x00\x01" * 20)
    (tmp_path / "cut.bed.gz").write_bytes(gzip.compress(b"chr1 1 5\n" * 1000)[:-10])
    for name, problem in (("bad.bed", "line 1 is no text"), ("cut.bed.gz", "cannot be read to its end")):
        with pytest.raises(JaxepiError, match=f"{name} {problem}"):
            read_bed(tmp_path / name, genome)
