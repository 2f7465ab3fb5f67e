import pickle

import numpy as np
import pysam
import pytest

from data_prep.chromoformer.depth_files import DepthFiles
from data_prep.chromoformer.gene_table import Gene
from data_prep.sources.depth import BamDepth
from data_prep.sources.tracks import TrackFile
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval

LENGTHS = {"chr1": 1000, "chr2": 300}
READS = [  # chromosome, start, CIGAR, flag
    ("chr1", 0, "36M", 0),
    ("chr1", 10, "10M5D10M", 16),
    ("chr1", 20, "30M", 0x400),
    ("chr1", 30, "5S20M", 0x100),
    ("chr1", 990, "10M", 0),
    ("chr2", 100, "50M", 0),
]


def gene(tss, chrom="chr1", neighbors=()):
    return Gene("G1", chrom, tss, False, 1, 1.0, 1, neighbors, (2.0,) * len(neighbors))


@pytest.fixture
def bam(tmp_path):
    path = tmp_path / "m.bam"
    header = {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": c, "LN": n} for c, n in LENGTHS.items()]}
    with pysam.AlignmentFile(path, "wb", header=header) as file:
        for number, (chrom, start, cigar, flag) in enumerate(READS):
            read = pysam.AlignedSegment(file.header)
            read.query_name, read.flag, read.cigarstring = f"r{number}", flag, cigar
            read.reference_id, read.reference_start = list(LENGTHS).index(chrom), start
            read.query_sequence = "A" * read.infer_query_length()
            file.write(read)
        unmapped = pysam.AlignedSegment(file.header)
        unmapped.query_name, unmapped.flag, unmapped.query_sequence = "u", 4, "ACGT"
        file.write(unmapped)
    pysam.index(str(path))
    return path


def expected(chrom, flags_left_out):
    depth = np.zeros(LENGTHS[chrom])
    spans = {"36M": 36, "10M5D10M": 25, "30M": 30, "5S20M": 20, "10M": 10, "50M": 50}
    for own, start, cigar, flag in READS:
        if own == chrom and not flag & flags_left_out:
            depth[start : start + spans[cigar]] += 1
    return depth


@pytest.mark.parametrize(("reads", "left_out"), [("primary", 0x500), ("all", 0)])
def test_alignments_are_counted(bam, reads, left_out):
    depth = BamDepth(TrackFile("m", bam), reads=reads)
    for chrom, length in LENGTHS.items():
        np.testing.assert_array_equal(depth.read(chrom, 0, length), expected(chrom, left_out))
    np.testing.assert_array_equal(depth.read("chr1", 15, 40), expected("chr1", left_out)[15:40])


@pytest.fixture
def bigwig(tmp_path, tools):
    starts, ends, values = np.array([0, 100, 400]), np.array([50, 200, 410]), np.array([1.0, 2.5, 300.0])
    return tools.write_bigwig(tmp_path / "b.bw", LENGTHS, {"chr1": (starts, ends, values)})


def test_marks_of_both_kinds(bam, bigwig):
    files = DepthFiles([TrackFile("bam", bam), TrackFile("bw", bigwig)], max_depth=100)
    files = pickle.loads(pickle.dumps(files))
    assert files.marks == ("bam", "bw") and files.lengths == LENGTHS
    depth, first = files.promoter(gene(420), 50)
    assert depth.shape == (2, 100) and first == 0 and depth.dtype == np.float32
    assert depth[1].tolist() == [0] * 30 + [100] * 10 + [0] * 60
    depth, first = files.promoter(gene(20), 50)
    assert depth.shape == (2, 70) and first == 30
    np.testing.assert_array_equal(depth[0], expected("chr1", 0x500)[:70])
    assert files.promoter(gene(980), 50)[0].shape == (2, 70)
    region = Interval("chr2", 90, 110)
    assert files.neighbor(gene(420, neighbors=(region,)), region).tolist() == [[0] * 10 + [1] * 10, [0] * 20]


def test_only_shared_chromosomes_count(tmp_path, tools, bam):
    some = (np.array([3]), np.array([5]), np.array([1.0]))
    other = tools.write_bigwig(tmp_path / "o.bw", {"1": 1000, "3": 70}, {"1": some})
    files = DepthFiles([TrackFile("a", bam), TrackFile("b", other)], "strip")
    assert files.lengths == {"1": 1000}
    files.check([gene(5, "1")], tmp_path)
    with pytest.raises(JaxepiError, match=r"gene G1 of .* needs the depth of 2, which .*o\.bw lacks \(it has 1, 3 …\)"):
        files.check([gene(5, "1", (Interval("2", 5, 9),))], tmp_path)
    with pytest.raises(JaxepiError, match=r"o\.bw.*--chrom-prefix"):
        DepthFiles([TrackFile("a", bam), TrackFile("b", other)])
    other = tools.write_bigwig(tmp_path / "o.bw", {"chr1": 1001}, {"chr1": some})
    with pytest.raises(JaxepiError, match=r"chr1 has 1001 bases in .*o\.bw and 1000 in .*m\.bam"):
        DepthFiles([TrackFile("a", bam), TrackFile("b", other)])


def test_wrong_files(tmp_path, tools, bam):
    with pytest.raises(JaxepiError, match=r"no\.bam does not exist"):
        DepthFiles([TrackFile("a", tmp_path / "no.bam")])
    whole = bam.read_bytes()
    bam.with_name("m.bam.bai").unlink()
    with pytest.raises(JaxepiError, match=r"m\.bam has no index: run samtools sort and samtools index"):
        DepthFiles([TrackFile("a", bam)])
    bam.write_bytes(whole[:5])
    with pytest.raises(JaxepiError, match=r"m\.bam is truncated or not a BAM file"):
        DepthFiles([TrackFile("a", bam)])
    ratio = (np.array([5]), np.array([9]), np.array([-0.5]))
    ratio = tools.write_bigwig(tmp_path / "r.bw", LENGTHS, {"chr1": ratio})
    with pytest.raises(JaxepiError, match=r"r\.bw has values below 0 .* chr1:0-100: read depth was expected"):
        DepthFiles([TrackFile("a", ratio)]).promoter(gene(50), 50)
