import pickle

import numpy as np
import pytest

from data_prep.chromoformer.gene_table import Gene
from data_prep.chromoformer.region_arrays import RegionArrays
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval

MARKS = ("a", "b")
FAR = Interval("chr1", 90_000, 90_300)
GENE = Gene("G1", "chr1", 30_000, False, 1, 1.0, 1, (FAR,), (2.0,))
PROMOTER = "chr1:10000-50000"


@pytest.fixture
def arrays(rng):
    return {
        PROMOTER: rng.integers(0, 50, (2, 40_000)).astype(np.float16),
        str(FAR): rng.integers(0, 50, (2, 300)).astype(np.float16),
    }


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(folder, arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture
def folder(tmp_path, arrays):
    return save(tmp_path / "npy", arrays)


def test_folder_and_archive_hold_the_same(tmp_path, folder, arrays):
    np.savez(tmp_path / "all.npz", **arrays)
    for path in (folder, tmp_path / "all.npz"):
        source = pickle.loads(pickle.dumps(RegionArrays(path, MARKS)))
        source.check([GENE], path)
        depth, first = source.promoter(GENE, 1000)
        assert first == 0 and depth.dtype == np.float32
        np.testing.assert_array_equal(depth, arrays[PROMOTER][:, 19_000:21_000])
        np.testing.assert_array_equal(source.neighbor(GENE, FAR), arrays[str(FAR)])


def test_promoters_at_chromosome_ends(tmp_path, arrays):
    near = Gene("G2", "chr1", 15_000, False, 1, 1.0, 1)
    whole = save(tmp_path / "npy", {"chr1:-5000-35000": arrays[PROMOTER][:, :35_000]})
    source = RegionArrays(whole, MARKS, {"chr1": 35_000})
    depth, first = source.promoter(near, 20_000)
    assert first == 5_000 and depth.shape == (2, 35_000)
    depth, first = source.promoter(near, 15_000)
    assert first == 0 and depth.shape == (2, 30_000)
    save(whole, {"chr1:10000-50000": arrays[PROMOTER][:, :25_000]})
    depth, first = source.promoter(GENE, 20_000)
    assert first == 0 and depth.shape == (2, 25_000)
    with pytest.raises(JaxepiError, match="gene G1 has a promoter array of 25000 bp .* 40000 bp .* --chrom-sizes"):
        RegionArrays(whole, MARKS).promoter(GENE, 20_000)


def test_missing_arrays(folder, tmp_path):
    (folder / f"{FAR}.npy").unlink()
    table = tmp_path / "meta.csv"
    source = RegionArrays(folder, MARKS)
    with pytest.raises(JaxepiError, match=r"gene G1 of .*meta\.csv needs .* neighbour chr1:90000-90300, which .*npy"):
        source.check([GENE], table)
    with pytest.raises(JaxepiError, match="gene G1 needs .*chr1:90000-90300.npy, which is missing"):
        source.neighbor(GENE, FAR)
    (folder / f"{PROMOTER}.npy").unlink()
    with pytest.raises(JaxepiError, match="array of its promoter chr1:10000-50000"):
        source.check([GENE], table)
    with pytest.raises(JaxepiError, match="does not exist"):
        RegionArrays(tmp_path / "no", MARKS)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 300)), r"gene G1 has 3 marks in .*chr1:90000-90300\.npy: 2 were expected \(a, b\)"),
        (np.zeros((2, 299)), r"neighbour array of 299 bp in .*chr1:90000-90300\.npy: 300 bp were expected"),
        (np.zeros(300), r"array of shape \(300,\)"),
        (np.zeros((2, 300), "U1"), "and type <U1"),
        (np.full((2, 300), np.nan), "gene G1 has depths below 0 or not finite"),
        (np.full((2, 300), -1), "gene G1 has depths below 0 or not finite"),
    ],
)
def test_wrong_arrays(folder, array, sentence):
    save(folder, {str(FAR): array})
    with pytest.raises(JaxepiError, match=sentence):
        RegionArrays(folder, MARKS).neighbor(GENE, FAR)


def test_damaged_files(folder, tmp_path):
    path = folder / f"{FAR}.npy"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(JaxepiError, match="missing or damaged"):
        RegionArrays(folder, MARKS).neighbor(GENE, FAR)
    path.unlink()
    path.mkdir()
    with pytest.raises(JaxepiError, match=rf"{FAR}\.npy cannot be read"):
        RegionArrays(folder, MARKS).describe([GENE])
    (tmp_path / "x.npz").write_text("x")
    with pytest.raises(JaxepiError, match=r"x\.npz is no readable \.npz file"):
        RegionArrays(tmp_path / "x.npz", MARKS).names()
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(JaxepiError, match="holds one array"):
        RegionArrays(tmp_path / "one.npy", MARKS).names()


def test_description_follows_the_content(folder, arrays):
    source = RegionArrays(folder, MARKS)
    before = source.describe([GENE])
    assert before["role"] == "npy" and before["bytes"] > 160_000
    save(folder, {"chr9:1-2": np.zeros((2, 1))})  # no gene needs it
    assert source.describe([GENE]) == before
    arrays[PROMOTER][0, 77] += 1
    save(folder, arrays)
    assert source.describe([GENE])["digest"] != before["digest"]
