"""Every part of a dataset is compared with what was promised of it."""

import json
import zlib
from pathlib import Path

import pytest
from data.test_coverage_folder import write_folder

from jaxepi.data.fingerprint import fingerprint_of
from jaxepi.data.verify import is_dataset, verify_dataset


def states(path: Path) -> dict[str, str]:
    """What was found, by the name of the file."""
    return {finding.place.name: f"{finding.state}: {finding.about}" for finding in verify_dataset(path)}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_a_whole_dataset(dataset_dir: Path) -> None:
    found = states(dataset_dir)
    assert is_dataset(dataset_dir) and {text.partition(":")[0] for text in found.values()} == {"whole"}
    assert {"manifest.json", "dataset_info.json", "record_index.npz"} < set(found)
    assert sorted(text for name, text in found.items() if "tfrecord" in name) == [
        "whole: checksums of 1 records", "whole: checksums of 13 records", "whole: checksums of 5 records",
        "whole: checksums of 9 records",
    ]  # fmt: skip


def test_each_damage_is_told_where_it_is(dataset_dir: Path) -> None:
    first, second, third = sorted(path for path in dataset_dir.glob("*train.tfrecord*"))
    flip(first, first.stat().st_size - 40)
    second.write_bytes(second.read_bytes()[:-3])
    flip(third, 3)
    (dataset_dir / "melody-train.tfrecord-00007-of-00009").write_bytes(first.read_bytes())
    flip(dataset_dir / "record_index.npz", 200)
    (dataset_dir.with_name("dataset.tmp-host-1")).mkdir()
    found = states(dataset_dir)
    assert found[first.name].startswith("damaged: record 8 at byte ") and "fails its checksum" in found[first.name]
    assert found[second.name].startswith("damaged: the file is truncated")
    assert found[third.name].startswith("damaged: record 0 at byte 0 has a damaged header")
    assert "knows no such file" in found["melody-train.tfrecord-00007-of-00009"]
    assert found["record_index.npz"].startswith("damaged: ") and "readers make it anew" in found["record_index.npz"]
    assert found["dataset.tmp-host-1"].startswith("left over: ")


def test_counts_bytes_and_missing_files(dataset_dir: Path) -> None:
    info = dataset_dir / "dataset_info.json"
    told = json.loads(info.read_text())
    told["splits"][0]["numBytes"] = "77"
    info.write_text(json.dumps(told))
    (told,) = [finding for finding in verify_dataset(dataset_dir) if finding.state == "damaged"]
    assert told.place == info and "bytes of records, but 77 are promised" in told.about
    next(dataset_dir.glob("*train.tfrecord*")).unlink()
    found = states(dataset_dir)
    assert found["dataset"].startswith("damaged: ") and "is missing" in found["dataset"]
    assert len(found) == 4, "the other shards are still read"


def test_a_manifest_fits_its_fingerprint(dataset_dir: Path) -> None:
    path = dataset_dir / "manifest.json"
    manifest = json.loads(path.read_text())
    assert states(dataset_dir)["manifest.json"] == "whole: no fingerprint of its content"
    manifest |= {"system": "melody", "arguments": {"window": 2000}, "inputs": [{"role": "fasta", "digest": "1"}]}
    manifest["fingerprint"] = fingerprint_of(manifest)
    path.write_text(json.dumps(manifest))
    assert states(dataset_dir)["manifest.json"].startswith("whole: fingerprint ")
    path.write_text(json.dumps(manifest | {"tracks": ["other", *manifest["tracks"][1:]]}))
    assert "does not match its fingerprint" in states(dataset_dir)["manifest.json"]


def test_a_coverage_folder_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = write_folder(tmp_path / "folder")
    found = states(path)
    assert found["train-0.tfr"] == "whole: checksums of 4 records" and len(found) == 6
    assert found["statistics.json"].startswith("whole: ") and not (tmp_path / "cache").exists()
    shard = path / "tfrecords" / "train-0.tfr"
    payload = bytearray(zlib.decompress(shard.read_bytes()))
    payload[100] ^= 1
    shard.write_bytes(zlib.compress(bytes(payload)))
    assert "fails its checksum" in states(path)["train-0.tfr"]
    shard.unlink()
    assert "missing" in states(path)["folder"]
