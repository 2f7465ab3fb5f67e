"""Every format of CpG profiles, and one sentence with file and line for each kind of bad input."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from data_prep.deepcpg.formats import recognise
from data_prep.deepcpg.profiles import Reading, cell_name, read_positions, read_profile
from data_prep.deepcpg.sequences import Sequences
from data_prep.sources import text_blocks as cpg_text
from jaxepi.errors import JaxepiError
from jaxepi.sequence import encode

REAL = Path(__file__).parents[4] / "shared" / "data" / "real"
#          0123456789012345678901
GENOME = {"chr1": "ACGTTCGAACGCGTTTTTTCG", "chr2": "CGCGAAAA"}
LENGTHS = {name: len(letters) for name, letters in GENOME.items()}


def codes(chrom, start, end):
    letters = GENOME[chrom]
    return encode("".join(letters[i] if 0 <= i < len(letters) else "N" for i in range(start, end)))


@pytest.fixture
def file(tmp_path):
    def write(text, name="cell.x.tsv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        return path

    return write


def plain(profile):
    return {
        chrom: list(
            zip(
                profile.positions[chrom].tolist(),
                np.round(profile.values[chrom].astype(float), 4).tolist(),
                strict=True,
            )
        )
        for chrom in profile.positions
    }


TSV = "#comment\nchr1\t2\t1.0\nchr1\t6\t0\n\nchr2\t1\t0.25\n"
SAME = {"chr1": [(1, 1.0), (5, 0.0)], "chr2": [(0, 0.25)]}
FORMATS = {
    "tsv": TSV,
    "bedgraph": "track type=bedGraph name=x\nchr1\t1\t3\t1.0\nchr1\t5\t6\t0\nchr2\t0\t1\t2.5e-1\n",
    "bismark": "chr1\t2\t2\t100.0\t3\t0\nchr1\t6\t6\t0\t0\t1\nchr2\t1\t1\t25\t1\t3\n",
    "methyldackel": 'track type="bedGraph" description="x CpG methylation levels"\n'
    "chr1\t1\t2\t100\t3\t0\nchr1\t5\t7\t0\t0\t1\nchr2\t0\t1\t25\t1\t3\n",
    "allc": "chr1\t2\t+\tCGT\t2\t2\t1\nchr1\t3\t-\tCGA\t1\t1\t1\nchr1\t4\t+\tCHH\t1\t1\t1\n"
    "chr1\t7\t-\tCGA\t0\t4\t0\nchr2\t1\t+\tCGC\t1\t4\t1\n",
    "bedmethyl": "chr1\t1\t2\tx\t3\t+\t1\t2\t0,0,0\t3\t100\nchr1\t5\t6\tx\t0\t+\t5\t6\t0,0,0\t0\t0\n"
    "chr1\t6\t7\tx\t2\t-\t6\t7\t0,0,0\t2\t0.0\nchr2\t0\t1\tx\t1\t+\t0\t1\t0,0,0\t4\t25\n",
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["cell.txt", "cell.txt.gz"])
def test_formats_are_recognised_and_say_the_same(form, name, file):
    path = file(FORMATS[form], name)
    assert recognise(path) == form
    assert plain(read_profile(path, Reading(), LENGTHS, codes)) == SAME
    assert plain(read_profile(path, Reading(form=form))) == SAME


def test_blanks_and_windows_line_ends(file):
    assert plain(read_profile(file(TSV.replace("\t", " ").replace("\n", "\r\n")))) == SAME
    assert plain(read_profile(file(TSV.rstrip("\n")))) == SAME


@pytest.mark.parametrize("size", [1, 7, 64])
def test_blocks_of_any_size(file, monkeypatch, size):
    monkeypatch.setattr(cpg_text, "_BLOCK_BYTES", size)
    for form, text in FORMATS.items():
        assert plain(read_profile(file(text), Reading(form=form), LENGTHS, codes)) == SAME


def test_modkit_lines_of_other_modifications_are_passed_over(file):
    line = "chr1\t{0}\t{1}\t{2}\t9\t{3}\t0\t1\t0\t{4}\t{5}\t{6}\t1\t0\t0\t0\t0\t0\n"
    text = line.format(1, 2, "h", "+", 9, 11.11, 1) + line.format(1, 2, "m,CG,0", "+", 9, 33.33, 3)
    text += line.format(2, 3, "m,CG,0", "-", 1, 100, 1)
    assert plain(read_profile(file(text))) == {"chr1": [(1, 0.4)]}


def test_strands_are_joined_by_sequence_or_column(file):
    both = "chr1\t2\t2\t100\t3\t0\nchr1\t3\t3\t0\t0\t1\nchr1\t7\t7\t50\t1\t1\nchr1\t12\t12\t100\t1\t0\n"
    joined = read_profile(file(both), Reading(), LENGTHS, codes)
    # 12 is the C of the CG after one; 7 is the G of the CG at 6
    assert plain(joined) == {"chr1": [(1, 0.75), (5, 0.5), (11, 1.0)]}
    assert plain(read_profile(file(both), Reading(strands="as-is"))) == {
        "chr1": [(1, 1.0), (2, 0.0), (6, 0.5), (11, 1.0)]
    }
    with pytest.raises(JaxepiError, match=r"cell\.x\.tsv line 2: chr1:3 is the other strand .* give --fasta"):
        read_profile(file(both))


def test_reads_values_and_chromosomes(file):
    path = file(FORMATS["bismark"])
    assert plain(read_profile(path, Reading(min_reads=3))) == {"chr1": [(1, 1.0)], "chr2": [(0, 0.25)]}
    assert plain(read_profile(path, Reading(values="round")))["chr2"] == [(0, 0.0)]
    assert plain(read_profile(path, Reading(chroms=frozenset({"chr2"})))) == {"chr2": [(0, 0.25)]}
    assert list(plain(read_profile(path, Reading(prefix="strip")))) == ["1", "2"]
    assert not read_profile(path).binary and read_profile(path, Reading(values="round")).binary
    assert list(plain(read_profile(path, Reading(extra_chroms="ignore"), {"chr1": 30}))) == ["chr1"]
    assert cell_name(Path("/a/cellB.rep1.tsv.gz")) == "cellB"


def test_bedgraph_base(file):
    text = "chr1\t2\t3\t1\n"
    assert plain(read_profile(file(text))) == {"chr1": [(2, 1.0)]}
    assert plain(read_profile(file(text), Reading(bedgraph_base=1))) == {"chr1": [(1, 1.0)]}


def test_unsorted_can_be_sorted(file):
    text = "chr2\t1\t0.25\nchr1\t6\t0\nchr1\t2\t1\n"
    assert plain(read_profile(file(text), Reading(unsorted="sort"))) == SAME
    again = "chr1\t6\t0\nchr2\t1\t0.25\nchr1\t2\t1\n"
    assert plain(read_profile(file(again), Reading(unsorted="sort"))) == SAME


BAD = {
    "unsorted": ("chr1\t6\t0\nchr1\t2\t1\n", {}, r"line 2: chr1:2 comes after chr1:6, so the file is not sorted"),
    "chromosome twice": ("chr1\t2\t0\nchr2\t1\t1\nchr1\t6\t1\n", {}, r"line 3: chr1 comes back after chr2"),
    "duplicate": ("chr1\t2\t0\nchr1\t6\t1\nchr1\t6\t1\n", {}, r"line 3: chr1:6 is there twice, first in line 2"),
    "duplicate after sorting": (
        "chr1\t6\t0\nchr1\t2\t1\nchr1\t6\t1\n",
        {"unsorted": "sort"},
        r"line 3: chr1:6 is there twice, first in line 1",
    ),
    "absent": (
        "chr1\t2\t0\nchr7\t6\t1\n",
        {},
        r"line 2: chromosome 'chr7' is not in the FASTA \(chr1, chr2\)",
    ),
    "naming": ("1\t2\t0\n", {}, r"line 1 names '1' where the FASTA has 'chr1': .* add --chrom-prefix add"),
    "naming 2": ("chr1\t2\t0\n", {"prefix": "strip"}, r"line 1 names '1' where the FASTA has 'chr1'"),
    "beyond": ("chr1\t2\t0\nchr1\t22\t1\n", {}, r"line 2: position 22 lies beyond the end of chr1, which has 21 bp"),
    "zero byte": ("chr1\t2\t1\nchr1\t6\t0\0\n", {}, r"line 2 is no text \(a zero byte\)"),
    "zero": ("chr1\t0\t0\n", {}, r"line 1: position 0, but the first base of a chromosome is 1"),
    "above one": (
        "chr1\t2\t0.5\nchr1\t6\t1.01\n",
        {},
        r"line 2: methylation value '1.01', but values lie between 0 and 1",
    ),
    "below zero": ("chr1\t2\t-1\n", {}, r"line 1: methylation value '-1'"),
    "nan": ("chr1\t2\tnan\n", {}, r"line 1: methylation value 'nan'"),
    "no number": ("chr1\t2\t1\nchr1\t6\thigh\n", {}, r"line 2: column 3 is 'high', not a methylation value"),
    "no position": ("chr1\t2\t1\nchr1\tsix\t1\n", {}, r"line 2: column 2 is 'six', not a position"),
    "negative": ("chr1\t2\t1\nchr1\t-6\t1\n", {}, r"line 2: column 2 is '-6', not a position"),
    "not binary": ("chr1\t2\t1\nchr1\t6\t0.5\n", {"values": "binary"}, r"line 2: methylation of chr1:6 is 0.5, but"),
    "columns": ("#x\nchr1\t2\t1\nchr1\t6\n", {}, r"line 3 has 2 column\(s\) where 3 were expected"),
    "unknown": ("chr1\t2\n", {}, r"line 1 has 2 column\(s\) that fit no known layout"),
    "header": ("chrom\tpos\tvalue\nchr1\t2\t1\n", {}, r"line 1 is a header"),
    "forced": ("chr1\t2\t1\n", {"form": "bismark"}, r"line 1 has 3 column\(s\) where 6 were expected"),
    "form": ("chr1\t2\t1\n", {"form": "bismrak"}, r"--format bismrak is unknown \(did you mean 'bismark'\?\)"),
    "empty": ("#nothing\n", {}, r"holds no line of data"),
    "interval": ("chr1\t1\t9\t1\n", {}, r"line 1: an interval of 8 bp, but each line is one CpG"),
    "reads": (
        "chr1\t2\t1\n",
        {"min_reads": 4},
        r"is a tsv file, which has no numbers of reads: leave out --min-reads 4",
    ),
    "too many reads": ("chr1\t2\t+\tCGA\t3\t2\t1\n", {}, r"line 1: 3 methylated of 2 reads"),
    "sign": ("chr1\t2\t+\tCGA\t2\t2\t1\nchr1\t6\tx\tCGA\t2\t2\t1\n", {}, r"line 2: column 3 is 'x', not \+ or -"),
    "percent": (
        "chr1\t1\t2\tx\t3\t+\t1\t2\t0\t3\t101\n",
        {},
        r"line 1: methylation '101', but percentages lie between",
    ),
    "same strand twice": (
        "chr1\t1\t2\tx\t3\t+\t1\t2\t0\t3\t10\nchr1\t1\t2\tx\t3\t+\t1\t2\t0\t3\t10\n",
        {},
        r"line 2: chr1:2 is there twice, first in line 1",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input(kind, file):
    text, how, message = BAD[kind]
    with pytest.raises(JaxepiError, match=message) as caught:
        read_profile(file(text), Reading(**how), LENGTHS, codes)
    sentence = str(caught.value)
    assert "\n" not in sentence and ("cell.x.tsv" in sentence or kind == "form")


def test_line_numbers_hold_in_later_blocks(file, monkeypatch):
    monkeypatch.setattr(cpg_text, "_BLOCK_BYTES", 40)
    lines = [f"chr1\t{i}\t1" for i in range(1, 2000)]
    lines[1500] = "chr1\t1501\t7"
    with pytest.raises(JaxepiError, match="line 1501: methylation value '7'"):
        read_profile(file("\n".join(lines)), Reading())
    lines[1500] = "chr1\t3\t1"
    with pytest.raises(JaxepiError, match="line 1501: chr1:3 comes after chr1:1500"):
        read_profile(file("\n".join(lines)), Reading())


def test_damaged_and_missing_files(file, tmp_path):
    path = file(TSV * 50, "cell.tsv.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(JaxepiError, match=r"cell\.tsv\.gz cannot be read to its end"):
        read_profile(path, Reading(unsorted="sort"))
    path.write_bytes(b"\x1f\x8b\x08\0" + bytes(range(200, 250)))
    with pytest.raises(JaxepiError, match=r"cell\.tsv\.gz cannot be read to its end"):
        read_positions(path, Reading(), LENGTHS)
    with pytest.raises(JaxepiError, match=r"none\.tsv does not exist: a file of CpG sites"):
        read_profile(tmp_path / "none.tsv")


def test_positions(file):
    got = read_positions(file("#pos\nchr1\t2\nchr1\t6\nchr2\t1\n"), Reading(), LENGTHS)
    assert {chrom: sites.tolist() for chrom, sites in got.items()} == {"chr1": [1, 5], "chr2": [0]}
    mixed = file("chr1\t6\nchr1\t2\nchr1\t6\n")
    assert read_positions(mixed, Reading(unsorted="sort"))["chr1"].tolist() == [1, 5]
    for text, message in (
        ("chr1\t6\nchr1\t2\n", "line 2: chr1:2 comes after chr1:6"),
        ("chr1\t6\nchr1\t6\n", "line 2: chr1:6 is there twice"),
        ("chr1\t6\t1\n", r"line 1 has 3 column\(s\) where 2"),
        ("chr9\t6\n", "line 1: chromosome 'chr9' is not in the FASTA"),
    ):
        with pytest.raises(JaxepiError, match=message):
            read_positions(file(text), Reading(), LENGTHS)


def test_random_profiles_survive_the_round_trip(file):
    rng = np.random.default_rng(0)
    for _ in range(20):
        want = {
            f"c{c}": [(int(p), float(np.float32(np.round(rng.random(), 3)))) for p in np.sort(rng.choice(10**9, 200))]
            for c in range(3)
        }
        text = "".join(f"{c}\t{p + 1}\t{v:.3f}\n" for c, own in want.items() for p, v in own)
        got = read_profile(file(text))
        for chrom, own in want.items():
            assert got.positions[chrom].tolist() == [p for p, _ in own]
            assert got.values[chrom].tolist() == [v for _, v in own]


def test_real_stranded_and_merged_files_agree():
    folder = REAL / "hg38_chr1_1Mb"
    if not folder.exists():
        pytest.skip("the real data sets are not beside the checkout")
    sequences = Sequences([folder / "chr1_1Mb.fa.gz"])
    stranded, merged = (
        read_profile(folder / name, Reading(), sequences.lengths, sequences.codes)
        for name in ("ENCSR156JXJ.stranded.bedMethyl.gz", "ENCSR156JXJ.cpg.cov.gz")
    )
    np.testing.assert_array_equal(stranded.positions["chr1"], merged.positions["chr1"])
    np.testing.assert_allclose(stranded.values["chr1"], merged.values["chr1"], atol=0.01)  # percentages have no digits
    codes_at = sequences.codes("chr1", 0, sequences.lengths["chr1"])
    assert (codes_at[merged.positions["chr1"]] == 1).all() and (codes_at[merged.positions["chr1"] + 1] == 2).all()


def test_six_columns_under_a_track_line_count_from_zero(file):
    """MethylDackel's bedGraph has the columns of Bismark's coverage file, and other positions."""
    text = "chr1\t5\t6\t50\t1\t1\nchr1\t10\t11\t100\t2\t0\nchr1\t11\t12\t100\t2\t0\n"
    track = 'track type="bedGraph" description="a CpG methylation levels"\n'
    assert recognise(file(track + text)) == "methyldackel" and recognise(file(text)) == "bismark"
    # 9 is the C of a CG, and 10 its G; 11 is the C of the next one
    right = read_profile(file(track + "chr1\t9\t10\t50\t1\t1\nchr1\t10\t11\t100\t2\t0\n"), Reading(), LENGTHS, codes)
    assert plain(right) == {"chr1": [(9, 0.75)]}
    with pytest.raises(JaxepiError, match=r"cell\.x\.tsv line 2: an interval of 0 bp"):
        read_profile(file(track + "chr1\t6\t6\t50\t1\t1\n"))


def test_sites_at_no_cg_are_refused(file):
    wrong = "chr1\t1\t1\nchr1\t4\t1\nchr1\t5\t1\n"
    with pytest.raises(
        JaxepiError, match=r"cell\.x\.tsv: 3 of 3 sites are at no CG of the FASTA, such as chr1:0-2: check"
    ):
        read_profile(file(wrong), Reading(), LENGTHS, codes)
    assert read_profile(file(wrong)).positions["chr1"].tolist() == [0, 3, 4]  # without a genome nobody can tell
    half = "chr1\t2\t1\nchr1\t3\t1\nchr1\t6\t1\nchr1\t7\t1\n"
    assert read_profile(file(half), Reading(), LENGTHS, codes).positions["chr1"].tolist() == [1, 2, 5, 6]
    reverse = "chr1\t3\t1\nchr1\t7\t1\n"
    with pytest.raises(JaxepiError, match="2 of 2 sites"):
        read_profile(file(reverse), Reading(), LENGTHS, codes)
    assert read_profile(file(reverse), Reading(strands="as-is"), LENGTHS, codes).positions["chr1"].tolist() == [2, 6]


def test_a_byte_order_mark_is_passed_over(file):
    path = file(TSV)
    for content in (path.read_bytes(), TSV.removeprefix("#comment\n").encode()):
        path.write_bytes(b"\xef\xbb\xbf" + content)
        assert plain(read_profile(path)) == SAME
        path.write_bytes(gzip.compress(path.read_bytes()))
        assert plain(read_profile(path)) == SAME
