"""Files are complete or absent."""

import json

import numpy as np
import pytest

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import plain, write_atomically, write_json, write_text


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
