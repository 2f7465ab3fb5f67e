"""One rule for chromosome names with and without `chr`."""

import pytest

from jaxepi.genome.chroms import harmonise, harmonise_all, misnamed, naming_error, other_name


@pytest.mark.parametrize(
    ("name", "added", "stripped"),
    [("1", "chr1", "1"), ("chr1", "chr1", "1"), ("MT", "chrM", "MT"), ("chrM", "chrM", "MT")],
)
def test_harmonise(name, added, stripped):
    assert (harmonise(name, "as-is"), harmonise(name, "add"), harmonise(name, "strip")) == (name, added, stripped)


def test_the_first_of_two_names_wins():
    assert harmonise_all(["chr1", "1", "chr2"], "strip") == {"1": "chr1", "2": "chr2"}


def test_the_other_name():
    assert other_name("1", ["chr1"]) == "chr1" and other_name("chr1", {"1": 5}) == "1"
    assert other_name("MT", ["chrM"]) == "chrM" and other_name("chrM", ["MT"]) == "MT"
    assert other_name("chr1", ["chr1", "1"]) is None and other_name("chr7", ["1"]) is None
    assert misnamed(["chr7", "chr2"], ["2", "1"]) == ("chr2", "2") and misnamed(["chr7"], ["1"]) is None
    assert naming_error("a.bed", "1", "g.fa", "chr1").startswith("a.bed names '1' where g.fa has 'chr1': use the same")
