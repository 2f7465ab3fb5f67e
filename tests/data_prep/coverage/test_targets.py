"""The table of tracks: what it says, and one sentence for each contradiction."""

import pytest

from data_prep.coverage.targets import read_targets
from data_prep.coverage.transforms import TRANSFORMS
from jaxepi.errors import JaxepiError

HEADER = "index\tidentifier\tfile\tclip\tclip_soft\tscale\tsum_stat\tdescription\tstrand_pair\tgenome"


@pytest.fixture
def table(tmp_path):
    """Writes a table of these rows beside two files of tracks; returns its path."""
    (tmp_path / "a.bw").touch()
    (tmp_path / "b.bed.gz").touch()

    def write(*rows, header=HEADER):
        path = tmp_path / "targets.txt"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


def test_every_column_is_read_and_the_table_comes_out_as_it_went_in(table):
    path = table("7\tx+\ta.bw\t384\t32\t0.5\tmean\tCAGE:x, left\t8\thg", "8\tx-\tb.bed.gz\t\t\t\t\t\t7\thg")
    read = read_targets(path)
    first, second = read.targets
    assert (first.name, first.clip, first.clip_soft, first.scale, first.sum_stat) == ("x+", 384, 32, 0.5, "mean")
    assert first.description == "CAGE:x, left" and first.path == path.parent / "a.bw"
    assert (second.clip, second.clip_soft, second.scale, second.sum_stat) == (None, None, 1.0, "sum")
    assert [target.strand_pair for target in read.targets] == [1, 0]
    assert read.text() == path.read_text()


def test_optional_columns_may_be_missing(table):
    (target,) = read_targets(table("0\tx\ta.bw", header="\tidentifier\tfile")).targets
    assert (target.scale, target.sum_stat, target.strand_pair, target.description) == (1.0, "sum", 0, "")


def test_repeated_identifiers_are_told_and_numbered(table):
    read = read_targets(table("0\tx\ta.bw", "1\tx\tb.bed.gz", header="i\tidentifier\tfile"))
    assert [target.name for target in read.targets] == ["x", "x#1"] and read.repeated == ("x",)


def test_tracks_of_one_genome(table):
    path = table("0\tx\ta.bw\t\t\t\t\t\t0\thg", "1\ty\ta.bw\t\t\t\t\t\t1\tmm")
    read = read_targets(path, "mm")
    assert [target.name for target in read.targets] == ["y"] and read.targets[0].strand_pair == 0
    with pytest.raises(JaxepiError, match="has tracks of 2 genomes .'hg', 'mm'.: prepare one after the other"):
        read_targets(path)
    with pytest.raises(JaxepiError, match="--genome is mn .* names hg, mm"):
        read_targets(path, "mn")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["0\tx\ta.bw\t\t\t\tmeans"], "line 2 has the sum_stat 'means' .did you mean 'mean'"),
        (["0\tx\ta.bw\tmany"], "line 2 has the clip 'many': a number above 0"),
        (["0\tx\ta.bw\t-3"], "line 2 has the clip '-3': a number above 0"),
        (["0\tx\ta.bw\t\t\tnan"], "line 2 has the scale 'nan': a number other than 0"),
        (["0\tx\ta.bw\t32\t32"], "line 2 has clip_soft 32, not below its clip 32"),
        (["0\tx\tno.bw"], "no.bw does not exist: .* line 2 names it as the file of track 'x'"),
        (["0\tx\ttargets.txt"], "targets.txt has an unknown ending"),
        (["0\t\ta.bw"], "line 2 has no identifier"),
        (["x\tx\ta.bw"], "line 2 begins with 'x': the index of the track"),
        (["0\tx\ta.bw", "0\ty\ta.bw"], "line 3 has the index 0 once more"),
        (["0\tx\ta.bw\t\t\t\t\t\t9"], "line 2 has the strand_pair 9, which is no index"),
        (["0\tx\ta.bw\t\t\t\t\t\t1", "1\ty\ta.bw\t\t\t\t\t\t1"], "pairs must be mutual"),
        ([], "has a header and no row"),
    ],
)
def test_contradictions(table, rows, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        read_targets(table(*rows))


def test_the_first_column_is_the_index(table):
    with pytest.raises(JaxepiError, match="begins with the column 'identifier': the first column is the index"):
        read_targets(table("x\ta.bw", header="identifier\tfile"))
    with pytest.raises(JaxepiError, match="has no column 'file'"):
        read_targets(table("0\tx", header="index\tidentifier"))


def test_statistics_that_an_old_program_did_not_know():
    TRANSFORMS["float32"].check("float32", "sum_exp75", "x")
    with pytest.raises(
        JaxepiError, match="'x' has the sum_stat mean_sqrt, which the programs of --transform cross2020"
    ):
        TRANSFORMS["cross2020"].check("cross2020", "mean_sqrt", "x")
    with pytest.raises(JaxepiError, match="sum_exp75"):
        TRANSFORMS["original"].check("original", "sum_exp75", "x")
