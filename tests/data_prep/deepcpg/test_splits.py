import numpy as np
import pytest

from data_prep.deepcpg.profiles import Profile
from data_prep.deepcpg.recipe import SiteTable
from data_prep.deepcpg.splits import check_cells, read_annotation, split_by_chromosome, split_by_regions
from data_prep.deepcpg.store import CellStore, save_profile
from jaxepi.errors import JaxepiError

SITES = {name: np.arange(5, dtype=np.int32) * 10 for name in ("chr1", "chr13", "chr2", "chrX")}
PAPER = dict.fromkeys(("train", "valid", "test"))


def chroms(splits):
    return {split: list(table.sites) for split, table in splits.items()}


def test_paper():
    assert chroms(split_by_chromosome(SITES, PAPER)) == {
        "train": ["chr1"],
        "valid": ["chr13", "chrX"],
        "test": ["chr2"],
    }
    few = {"1": SITES["chr1"]}
    assert chroms(split_by_chromosome(few, PAPER)) == {"train": ["1"]}


def test_named():
    named = {"train": ["rest"], "valid": ["none"], "test": ["X", "chr13"]}
    assert chroms(split_by_chromosome(SITES, named)) == {"train": ["chr1", "chr2"], "test": ["chr13", "chrX"]}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"train": ["1"], "valid": ["chr1"]}, "chr1 is in --train-chroms and in --valid-chroms"),
        ({"train": ["rest"]}, "--train-chroms and --valid-chroms are both `rest`"),
        ({"test": ["chr12"]}, "--test-chroms names chr12.* where no cell has a site"),
        ({"train": ["none"], "valid": ["1", "2", "13", "X"], "test": ["rest"]}, "split 'test' is empty"),
    ],
)
def test_bad_names(named, message):
    with pytest.raises(JaxepiError, match=message):
        split_by_chromosome(SITES, PAPER | named)


def test_no_training_chromosome():
    with pytest.raises(JaxepiError, match="split 'train' is empty: .* --train-chroms"):
        split_by_chromosome({"chr18": SITES["chr1"]}, PAPER)


def test_regions(tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text(
        "chr1\t0\t20\ttrain\nchr1\t10\t25\ttrain\nchr1\t30\t41\theld\nchrX\t10\t11\theld\nchr9\t0\t9\theld\n"
    )
    splits = split_by_regions(bed, SITES, "as-is")
    assert {s: {c: own.tolist() for c, own in t.sites.items()} for s, t in splits.items()} == {
        "train": {"chr1": [0, 10, 20]},
        "held": {"chr1": [30, 40], "chrX": [10]},
    }
    bed.write_text("chr1\t0\t20\ttrain\nchr1\t19\t25\ttest\n")
    with pytest.raises(JaxepiError, match="chr1:19-25 of split 'test' overlaps chr1:0-20 of split 'train'"):
        split_by_regions(bed, SITES, "as-is")
    bed.write_text("chr1\t0\t20\ttrain\nchr5\t19\t25\ttest\n")
    with pytest.raises(JaxepiError, match="no site lies in a region of split 'test'"):
        split_by_regions(bed, SITES, "as-is")


def test_a_cell_without_a_site_in_a_split(tmp_path):
    here = Profile(
        {"chr1": SITES["chr1"], "chr2": SITES["chr2"]}, {c: np.ones(5, np.float32) for c in ("chr1", "chr2")}
    )
    there = Profile({"chr1": SITES["chr1"], "chr2": SITES["chr2"] + 1}, here.values)
    cells = [save_profile(tmp_path, i, tmp_path / f"cell{i}.tsv", own) for i, own in enumerate((here, there))]
    splits = {"train": SiteTable({"chr1": SITES["chr1"]}), "test": SiteTable({"chr2": SITES["chr2"]})}
    with pytest.raises(
        JaxepiError, match=r"cell1\.tsv: cell 'cell1' was observed at none of the 5 sites of split 'test'"
    ):
        check_cells(CellStore(tmp_path, cells), splits)
    check_cells(CellStore(tmp_path, cells[:1]), splits)


def test_regions_where_nothing_is_are_counted_and_told(tmp_path, capsys):
    bed = tmp_path / "r.bed"
    bed.write_text("chr1\t0\t20\ttrain\nchrUn\t0\t9\ttrain\nchrUn\t10\t12\ttest\nchr1\t30\t41\ttest\n")
    assert set(split_by_regions(bed, SITES, "as-is", {"chr1": 50})) == {"train", "test"}
    assert "2 regions of" in capsys.readouterr().err
    with pytest.raises(JaxepiError, match="line 4 says chr1:30-41, but chr1 is 40 bases long"):
        split_by_regions(bed, SITES, "as-is", {"chr1": 40})
    bed.write_text("chrUn\t0\t9\n")
    read_annotation(bed, "as-is", SITES)
    assert "no region of" in capsys.readouterr().err
    bed.write_text("# nothing\n")
    with pytest.raises(JaxepiError, match="holds no region"):
        read_annotation(bed, "as-is", SITES)
