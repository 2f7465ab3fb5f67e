"""Files are complete or absent."""

import json
import threading
import time

import numpy as np
import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import plain, replacing, write_atomically, write_json, write_text


def test_a_failing_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(JaxepiError, match=r"Cannot write .*a\.txt: No space left on device"):
        write_atomically(path, full)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_other_failures_leave_nothing_either(tmp_path):
    def broken(file):
        raise KeyError("x")

    with pytest.raises(KeyError):
        write_atomically(tmp_path / "a", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxepiError, match="Cannot write"):
        write_text(tmp_path / "file" / "b.txt", "x")


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {1: np.float32("nan"), "b": [np.int64(3), float("inf"), np.array([0.5])]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": None, "b": [3, None, [0.5]]}
    assert plain(np.bool_(True)) is True


def test_plain_takes_configs_arrays_and_anything_else(tmp_path):
    config = ConfigDict(
        {"model": {"width": 4, "rate": np.float32(0.5)}, "splits": ("a", "b"), "limit": placeholder(int)}
    )
    expected = {"model": {"width": 4, "rate": 0.5}, "splits": ["a", "b"], "limit": None}
    assert plain(config) == plain(config, strict=False) == expected
    assert plain({"path": tmp_path, "nested": ({1: np.eye(2, dtype=np.int8)},)}) == {
        "path": str(tmp_path), "nested": [{"1": [[1, 0], [0, 1]]}],
    }  # fmt: skip


def test_numbers_that_are_not_finite_stay_if_asked_for():
    kept = plain({"ceiling": np.float64("inf"), "values": np.array([np.nan, 1])}, strict=False)
    assert kept["ceiling"] == float("inf") and np.isnan(kept["values"][0]) and kept["values"][1] == 1
    assert json.loads(json.dumps(kept))["ceiling"] == float("inf")


def test_a_file_takes_its_place_when_the_block_ends_well(tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(b"old")
    with replacing(path) as partial:
        np.savez(partial, a=np.arange(3))  # by path: the ending is kept, so that nothing is appended
        assert path.read_bytes() == b"old" and partial.parent == tmp_path
    with np.load(path) as stored:
        assert stored["a"].tolist() == [0, 1, 2]
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(OSError, match="full"), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise OSError("full")
    assert path.stat().st_size > 3 and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_job_left_is_taken_over(tmp_path):
    (tmp_path / ".progress.json").write_text("half of it")
    write_json(tmp_path / "progress.json", {})
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("progress.json", "{}\n")]


def test_writers_of_one_file_take_turns(tmp_path):
    path, started, left = tmp_path / "a.txt", threading.Event(), []

    def second():
        started.set()
        with replacing(path) as partial:
            left.append(path.read_text())
            partial.write_text("second")

    with replacing(path) as partial:
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        time.sleep(0.05)  # the other one waits, and must not take this one's file afterwards
        partial.write_text("first")
    thread.join()
    assert left == ["first"] and path.read_text() == "second" and list(tmp_path.iterdir()) == [path]
