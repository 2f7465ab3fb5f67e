import pytest

from data_prep.chromoformer.contacts import Contacts, read_contacts, read_tss_fragments, select_neighbors
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss
from jaxepi.genome.intervals import Interval, parse_interval

A, B, C, D = (parse_interval(f"chr1:{i}000-{i + 1}000") for i in (1, 3, 5, 7))


def read(tmp_path, text, name="c.tsv", **more):
    path = tmp_path / name
    path.write_text(text)
    return read_contacts(path, **more)


def test_pairs_count_in_both_directions(tmp_path):
    text = f"fragment\tneighbor\tscore\n{A}\t{B}\t2.0\n{A}\t{C}\t1.5\n{B}\t{A}\t3.0\n{A}\t{A}\t9\n"
    both = read(tmp_path, text)
    assert dict(both.of(A)) == {B: 3.0} and dict(both.of(B)) == {A: 3.0}  # 1.5 is not above 1.5
    listed = read(tmp_path, text, direction="as-listed", min_score=1.0)
    assert dict(listed.of(A)) == {B: 2.0, C: 1.5} and dict(listed.of(B)) == {A: 3.0} and not listed.of(C)


def test_long_fragments_have_neighbours_but_are_none(tmp_path):
    text = "fragment,neighbor,score\nchr1:0-50000,chr1:60000-61000,2\n"
    contacts = read(tmp_path, text)
    assert len(contacts) == 1 and dict(contacts.of(Interval("chr1", 0, 50_000))) == {
        Interval("chr1", 60_000, 61_000): 2.0
    }
    assert len(read(tmp_path, text, max_length=50_000)) == 2


def test_forms_of_tables(tmp_path):
    bedpe = "1\t1000\t2000\t1\t3000\t4000\tx\t2.5\n1\t1000\t2000\t1\t5000\t6000\tx\t\n"
    named = "chrom1,start1,end1,chrom2,start2,end2,raw,score\nchr1,1000,2000,chr1,3000,4000,7,2.5\n"
    cool = "chr1\t1000\t2000\tchr1\t3000\t4000\t2.5\n"
    for text, more in ((bedpe, {"prefix": "add"}), (named, {}), (cool, {})):
        assert dict(read(tmp_path, text, **more).of(A)) == {B: 2.5}
    assert dict(read(tmp_path, named, score_column="raw").of(A)) == {B: 7.0}
    assert dict(read(tmp_path, bedpe.replace("x", "4"), prefix="add", score_column="7").of(A)) == {B: 4.0, C: 4.0}


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("", {}, "is empty"),
        ("fragment,neighbour,score\n", {}, "has the columns fragment, neighbour, score: fragment, neighbor or chrom1"),
        ("fragment,neighbor,scores\n", {}, r"no column 'score' \(did you mean 'scores'\?\)"),
        (f"fragment,neighbor,score\n{A},{B},high\n", {}, r"c\.tsv line 2 has the score 'high'"),
        (f"fragment,neighbor,score\n{A}\n{A},{B},2\n", {}, "line 2 has an empty cell where a fragment was expected"),
        (f"fragment,neighbor,score\n{A},chr1,2\n", {}, r"line 2 has a wrong fragment \('chr1' is no region"),
        ("chr1\t10\t20\tchr1\t5\t5\t2\n", {}, "line 1 has a wrong fragment"),
        ("chr1\t10\t20\tchr1\t5\t6\t2\n", {"score_column": "8"}, "has no header and 7 columns"),
        (f"fragment,neighbor,score\n{A},{B},1.2\n", {}, "lists 1 contacts, of which none scores above 1.5"),
    ],
)
def test_wrong_tables(tmp_path, text, more, sentence):
    with pytest.raises(JaxepiError, match=sentence):
        read(tmp_path, text, **more)


def test_fragments_at_a_position():
    contacts = Contacts()
    wide = Interval("chr1", 0, 10_000)
    for fragment in (C, A, wide):
        contacts.add(fragment, D, 2.0)
    assert contacts.at("chr1", 1000) == [wide, A] and contacts.at("chr1", 2000) == [wide]
    assert contacts.at("chr1", 10_000) == [] == contacts.at("chr2", 1000)


def test_first_start_site_decides_the_score_and_text_the_order():
    contacts = Contacts()
    for fragment, neighbor, score in ((A, C, 2.0), (B, C, 5.0), (B, D, 2.0), (B, A, 2.0)):
        contacts.add(fragment, neighbor, score)
    sites = [Tss("chr1", 1500, False), Tss("chr1", 3500, False)]
    assert select_neighbors(contacts, sites, 8) == ((A, C, D), (2.0, 2.0, 2.0))
    assert select_neighbors(contacts, sites[::-1], 2) == ((C, A), (5.0, 2.0))
    assert select_neighbors(contacts, sites, 0) == ((), ())
    assert select_neighbors(contacts, sites, 8, {"chr1:1500-1501": None, "chr1:3500-3501": A}) == ((C,), (2.0,))
    assert select_neighbors(contacts, sites, 8, {}) == ((), ())


def test_table_of_fragments(tmp_path):
    path = tmp_path / "f.tsv"
    path.write_text(f"tss\tfragment\n1:5-6\t\nchr1:1500-1501\t{A}\n")
    assert read_tss_fragments(path, "add") == {"chr1:5-6": None, "chr1:1500-1501": A}
    path.write_text("tss\tfragment\nchr1\t\n")
    with pytest.raises(JaxepiError, match=r"f\.tsv line 2 has a wrong fragment"):
        read_tss_fragments(path)


@pytest.mark.parametrize(
    ("magic", "kind"), [(b"\x89HDF\r\n", "HDF5 file, such as .cool"), (b"HIC\0", "Juicer .hic file")]
)
def test_binary_contacts_are_called_by_their_name(tmp_path, magic, kind):
    path = tmp_path / "c.cool"
    path.write_bytes(magic + bytes(100))
    with pytest.raises(JaxepiError, match=rf"c\.cool is an? {kind}, .*cooler dump --join --balanced"):
        read_contacts(path)


def test_counts_are_no_normalised_scores(tmp_path):
    rows = [f"chr1\t{i}000\t{i + 1}000\tchr1\t90000\t91000\t{i}" for i in range(2, 40)]
    with pytest.raises(JaxepiError, match=r"c\.tsv has whole numbers only as its 38 scores.* --whole-scores accept"):
        read(tmp_path, "\n".join(rows))
    assert len(read(tmp_path, "\n".join(rows), accept_whole=True)) == 2 * 38
    assert len(read(tmp_path, "\n".join([*rows[:-1], rows[-1] + ".5"]))) == 2 * 38
    assert len(read(tmp_path, "\n".join(rows[:15]))) == 2 * 15  # too few to tell


@pytest.mark.parametrize("score", ["-1", "inf", "-inf", "high"])
def test_scores_are_numbers_from_zero(tmp_path, score):
    with pytest.raises(JaxepiError, match=rf"c\.tsv line 1 has the score '{score}': a number from 0 was expected"):
        read(tmp_path, f"chr1\t10\t20\tchr1\t30\t40\t{score}\n")


def test_a_damaged_gzip_file_is_one_sentence(tmp_path):
    (tmp_path / "c.tsv.gz").write_bytes(b"\x1f\x8b\x08\0" + bytes(range(200, 250)))
    with pytest.raises(JaxepiError, match=r"c\.tsv\.gz cannot be read to its end"):
        read_contacts(tmp_path / "c.tsv.gz")
