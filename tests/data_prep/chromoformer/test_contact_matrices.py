import numpy as np
import pytest

from data_prep.chromoformer.contact_matrices import matrix_files, read_matrices
from jaxepi.errors import JaxepiError
from jaxepi.genome.annotation import Tss
from jaxepi.genome.intervals import Interval

SITES = [[Tss("chr1", 150, False), Tss("chr2", 5, False)]]


@pytest.fixture
def folder(tmp_path):
    matrix = np.array([[9, 3, 1, 0], [3, 9, 11, 2], [1, 11, 9, 4], [0, 2, 4, 9]], float)
    np.save(tmp_path / "1.npy", matrix)
    np.savetxt(tmp_path / "chr3.txt.gz", matrix)
    (tmp_path / "notes.md").write_text("x")
    return tmp_path


def test_bins_of_start_sites(folder):
    files = matrix_files(folder, "add")
    assert {chrom: path.name for chrom, path in files.items()} == {"chr1": "1.npy", "chr3": "chr3.txt.gz"}
    contacts = read_matrices(files, 100, SITES, 2.0, {"chr1": 330})
    bins = [Interval("chr1", 100 * k, 100 * k + 100) for k in range(3)]
    assert dict(contacts.of(bins[1])) == {bins[0]: 3.0, bins[2]: 11.0} and len(contacts) == 2
    last = read_matrices(files, 100, [[Tss("chr3", 250, True)]], 2.0, {"chr3": 330})
    assert last.of(Interval("chr3", 200, 300))[Interval("chr3", 300, 330)] == 4.0


def test_wrong_matrices(folder, tmp_path):
    files = matrix_files(folder, "add")
    with pytest.raises(JaxepiError, match=r"1\.npy has 4 bins of 10 bp, but a start site lies in bin 15 of chr1"):
        read_matrices(files, 10, SITES, 2.0)
    with pytest.raises(JaxepiError, match="holds no contact above 50"):
        read_matrices(files, 100, SITES, 50)
    np.save(folder / "1.npy", np.zeros((2, 3)))
    with pytest.raises(JaxepiError, match=r"1\.npy has the shape \(2, 3\)"):
        read_matrices(files, 100, SITES, 2.0)
    (folder / "1.npy").write_text("x")
    with pytest.raises(JaxepiError, match=r"1\.npy cannot be read as a matrix"):
        read_matrices(files, 100, SITES, 2.0)
    with pytest.raises(JaxepiError, match="is not a folder"):
        matrix_files(folder / "no")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JaxepiError, match="holds no matrix"):
        matrix_files(tmp_path / "empty")


def test_counts_are_no_normalised_scores(tmp_path):
    counts = np.arange(100.0).reshape(10, 10)
    np.save(tmp_path / "chr1.npy", counts + counts.T)
    sites = [[Tss("chr1", 100 * k, False) for k in range(10)]]
    with pytest.raises(JaxepiError, match=r"chr1\.npy has whole numbers only as its 99 scores"):
        read_matrices(matrix_files(tmp_path), 100, sites, 2.0)
    assert len(read_matrices(matrix_files(tmp_path), 100, sites, 2.0, accept_whole=True))


def test_damaged_matrices_are_one_sentence(folder, tmp_path):
    files = matrix_files(folder, "add")
    packed = files["chr3"].read_bytes()
    for content in (packed[:-9], packed[:30] + bytes(9) + packed[39:], b"\xff\xfe\x00", b"1 2\n3\n"):
        files["chr3"].write_bytes(content)
        with pytest.raises(JaxepiError, match=r"chr3\.txt\.gz") as caught:
            read_matrices(files, 100, [[Tss("chr3", 250, True)]], 2.0)
        assert "\n" not in str(caught.value)
    for array in (np.array([["a", "b"], ["c", "d"]]), np.eye(2, dtype=complex)):
        np.save(files["chr1"], array)
        with pytest.raises(JaxepiError, match=r"1\.npy holds no array of numbers"):
            read_matrices(files, 100, SITES, 2.0)
    with files["chr1"].open("wb") as file:
        np.savez(file, a=np.eye(4))
    with pytest.raises(JaxepiError, match=r"1\.npy holds no array of numbers"):
        read_matrices(files, 100, SITES, 2.0)


def test_chromosomes_without_a_matrix_are_told(folder, capsys):
    files = matrix_files(folder, "add")
    read_matrices(files, 100, SITES, 2.0)
    assert capsys.readouterr().err == f"warning: {folder} has no matrix of chr2: genes there get no contacts\n"
