import json

import numpy as np
import pyBigWig
import pytest

from jaxepi.analysis import cpg_calls as calls
from jaxepi.analysis.cpg_calls import CallStore, write_bigwigs
from jaxepi.errors import JaxepiError
from jaxepi.storage.job import check_same, file_names


def key(chrom: int, position: int) -> int:
    return chrom << 32 | position


@pytest.mark.parametrize("block", [2, 100])
@pytest.mark.parametrize(
    ("positions", "kept"),
    [
        ([(0, 5), (0, 7), (1, 0)], [0, 1, 2]),  # in order
        ([(1, 0), (1, 4), (0, 5), (0, 7)], [2, 3, 0, 1]),  # runs that change places
        ([(0, 5), (0, 9), (0, 7), (0, 9), (1, 1), (0, 5)], [0, 2, 1, 4]),  # overlaps: the first of equal ones counts
        ([], []),
    ],
)
def test_bigwigs_are_sorted_and_without_doubles(tmp_path, monkeypatch, positions, kept, block):
    monkeypatch.setattr(calls, "_BLOCK", block)
    keys = np.array([key(*position) for position in positions], np.uint64)
    values = np.arange(2 * len(keys), dtype=np.float32).reshape(len(keys), 2) / 16
    paths = [tmp_path / "a.bw", tmp_path / "b.bw"]
    write_bigwigs(paths, {"chr1": 100, "chr2": 50}, keys, values)
    for k, path in enumerate(paths):
        with pyBigWig.open(str(path)) as file:
            assert file.chroms() == {"chr1": 100, "chr2": 50}
            read = [(name, *row) for name in ("chr1", "chr2") for row in file.intervals(name) or ()]
        names = ("chr1", "chr2")
        expected = [(names[c], p, p + 2, values[i, k]) for i in kept for c, p in [positions[i]]]
        assert read == expected


def test_the_table_has_four_decimals_and_one_line_a_track(tmp_path):
    store = CallStore(tmp_path / "out", {}, ["a b", "c"], table=True, bigwig=False)
    store.append("chr1", 0, np.array([3, 10]), np.float32([[0.03125, 1.0], [0.99995, 0.0]]))
    store.finish({"chr1": 20}, {"note": "done"})
    assert (tmp_path / "out" / "calls.tsv").read_text() == (
        "chrom\tposition\ttrack\tvalue\nchr1\t3\ta_b\t0.0312\nchr1\t3\tc\t1.0000\nchr1\t10\ta_b\t0.9999\n"
        "chr1\t10\tc\t0.0000\n"
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"calls.tsv", "predict.json"}
    assert json.loads((tmp_path / "out" / "predict.json").read_text()) == {"arguments": {}, "note": "done"}
    assert not (tmp_path / "out.partial").exists()


def test_every_value_is_rounded_as_python_rounds(tmp_path):
    values = np.random.default_rng(0).random((500, 1)).astype(np.float32)
    store = CallStore(tmp_path / "out", {}, ["t"], table=True, bigwig=False)
    store.append("c", 0, np.arange(500), values)
    store.finish({}, {})
    lines = (tmp_path / "out" / "calls.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[3] for line in lines] == [f"{value:.4f}" for value in values[:, 0]]


def test_only_what_was_synced_counts_after_a_crash(tmp_path):
    store = CallStore(tmp_path / "out", {"x": 1}, ["t"], table=True, bigwig=True)
    store.append("c", 0, np.array([1]), np.float32([[0.5]]))
    store.commit(1)
    store.sync()
    store.append("c", 0, np.array([5, 9]), np.float32([[0.5], [0.25]]))
    store.close()  # as if killed: bytes are there that nobody vouches for
    again = CallStore(tmp_path / "out", {"x": 1}, ["t"], table=True, bigwig=True)
    assert (again.batches, again.calls) == (1, 1)
    again.append("c", 0, np.array([7]), np.float32([[0.75]]))
    again.finish({"c": 20}, {})
    assert (tmp_path / "out" / "calls.tsv").read_text().splitlines()[1:] == ["c\t1\tt\t0.5000", "c\t7\tt\t0.7500"]
    with pyBigWig.open(str(tmp_path / "out" / "bigwig" / "t.bw")) as file:
        assert file.intervals("c") == ((1, 3, 0.5), (7, 9, 0.75))


def test_other_arguments_and_a_second_process_are_refused(tmp_path):
    store = CallStore(tmp_path / "out", {"window": 10}, ["t"], table=True, bigwig=False)
    store.sync()
    with pytest.raises(JaxepiError, match="Another process is writing"):
        CallStore(tmp_path / "out", {"window": 10}, ["t"], table=True, bigwig=False)
    store.close()
    with pytest.raises(JaxepiError, match=r"out\.partial was left by a job with window 10, not 20: remove it"):
        CallStore(tmp_path / "out", {"window": 20}, ["t"], table=True, bigwig=False)
    with pytest.raises(JaxepiError, match="x with a 1, not 2: do y"):
        check_same({"a": 1}, {"a": 2}, "x", "do y")


def test_track_names_become_different_file_names():
    assert file_names(["a/b", "a b", "A_b", "../../etc", "GSM1_liver.x"]) == [
        "a_b", "a_b_2", "A_b_3", "_.._etc", "GSM1_liver.x",
    ]  # fmt: skip
