"""Rows in files of full size: sound at any moment, the same bytes after a kill."""

import json

import h5py
import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.storage import row_store
from jaxepi.storage.row_store import RowArray, RowStore, texts

ROWS = np.arange(60, dtype=np.float16).reshape(5, 4, 3)
ARRAYS = {
    "a.h5": RowArray("preds", (5, 4, 3), np.float16, {"chrom": texts(["chrI", "é"])}, {"bin": 10}),
    "b.h5": RowArray("targets", (5, 4, 3), np.float16),
    "c.raw": RowArray("", (5, 4, 3), np.float16),
}


def fill(store, low, high):
    for row in range(low, high):
        store.append({name: ROWS[row : row + 1] for name in ARRAYS}, seen=2)


def test_rows_come_back_beside_what_was_known_before(tmp_path):
    with RowStore(tmp_path / "out", {"x": 1}, ARRAYS) as store:
        fill(store, 0, 5)
        np.testing.assert_array_equal(store.files["c.raw"].view(), ROWS)
        assert store.state == {"seen": 10}
        store.publish("done.json", {"rows": 5})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.h5", "b.h5", "done.json"]
    with h5py.File(tmp_path / "out/a.h5") as file:
        np.testing.assert_array_equal(file["preds"], ROWS)
        assert [text.decode() for text in file["chrom"]] == ["chrI", "é"] and file.attrs["bin"] == 10
    with h5py.File(tmp_path / "out/b.h5") as file:
        np.testing.assert_array_equal(file["targets"], ROWS)
    assert json.loads((tmp_path / "out/done.json").read_text()) == {"arguments": {"x": 1}, "rows": 5}


@pytest.mark.parametrize("synced", [0, 2])
def test_a_killed_job_goes_on_and_its_bytes_are_those_of_a_whole_one(tmp_path, synced):
    store = RowStore(tmp_path / "out", {"x": 1}, ARRAYS)
    fill(store, 0, synced)
    if synced:
        store.sync()
    fill(store, synced, 4)
    store.files["a.h5"].file.write(b"half a row")  # and nobody was told of them
    store.close()
    with h5py.File(tmp_path / "out.partial/a.h5") as file:  # sound, though not whole
        assert file["preds"].shape == (5, 4, 3)
    if synced:
        with pytest.raises(JaxepiError, match="left by a job with x 1, not 2"):
            RowStore(tmp_path / "out", {"x": 2}, ARRAYS)
    for name in ("out", "whole"):
        with RowStore(tmp_path / name, {"x": 1}, ARRAYS) as store:
            assert store.rows == (synced if name == "out" else 0) and store.state.get("seen", 0) == 2 * store.rows
            fill(store, store.rows, 5)
            store.publish("done.json", {"seen": store.state["seen"]})
    for name in ("a.h5", "b.h5", "done.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_a_job_left_that_said_nothing_is_not_published(tmp_path):
    other = RowStore(tmp_path / "out", {"x": 2}, {"z.h5": RowArray("preds", (2, 3), np.float32)})
    (other.partial / "bigwig").mkdir()
    other.close()
    with RowStore(tmp_path / "out", {"x": 1}, ARRAYS) as store:
        fill(store, 0, 5)
        store.publish("done.json", {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.h5", "b.h5", "done.json"]


def test_a_disk_without_room_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(row_store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 300}))
    with pytest.raises(JaxepiError, match=r"0.0 GB of disk left, but a.h5 and b.h5 and c.raw need 0.0 GB"):
        RowStore(tmp_path / "out", {}, ARRAYS)


def test_no_rows_are_no_mistake(tmp_path):
    arrays = {"a.h5": RowArray("preds", (0, 3), np.float32), "b.raw": RowArray("", (0, 3), np.float32)}
    with RowStore(tmp_path / "out", {}, arrays) as store:
        assert store.files["a.h5"].view().shape == store.files["b.raw"].view().shape == (0, 3)
        store.publish("done.json", {})
    with h5py.File(tmp_path / "out/a.h5") as file:
        assert file["preds"].shape == (0, 3)
