"""manifest.json: its checksum, and entries that are not there."""

import json
import pickle
from pathlib import Path

import pytest

from jaxepi.data.manifest import read_manifest, sealed
from jaxepi.errors import JaxepiError

ENTRIES = {
    "kind": "melody",
    "fingerprint": "f",
    "splits": {"valid": {"records": 3}, "train": {"records": 5}},
    "window": 2000,
    "share": 0.1,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.json"
    path.write_text(sealed(ENTRIES))
    return path


def test_it_comes_back_as_written(file: Path) -> None:
    assert read_manifest(file) == ENTRIES
    file.write_text(json.dumps(dict(reversed(json.loads(file.read_text()).items()))))  # another order, other blanks
    assert read_manifest(file) == ENTRIES
    file.write_text(json.dumps(ENTRIES))  # of earlier versions
    assert read_manifest(file) == ENTRIES


@pytest.mark.parametrize(
    ("old", "new"), [("2000", "2001"), ('"window"', '"wimdow"'), ("0.1", "0.3"), ('"f"', '"g"'), ('"share"', '"kind"')]
)
def test_a_change_is_told(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(JaxepiError, match=f"{file}: it is not what data_prep wrote"):
        read_manifest(file)


def test_a_missing_entry_is_told_with_the_file(file: Path) -> None:
    manifest = pickle.loads(pickle.dumps(read_manifest(file)))
    assert manifest.get("tracks") is None and "tracks" not in manifest
    with pytest.raises(JaxepiError, match=f"{file}: the entry 'tracks' is missing; delete the dataset"):
        manifest["tracks"]


@pytest.mark.parametrize(
    "change", [{"kind": 3}, {"fingerprint": None}, {"splits": [1]}, {"splits": {}}, {"splits": {"train": 3}}]
)
def test_entries_of_another_kind_are_told(file: Path, change: dict) -> None:
    file.write_text(json.dumps(ENTRIES | change))
    with pytest.raises(JaxepiError, match=f"{file}: its kind, fingerprint or splits"):
        read_manifest(file)
