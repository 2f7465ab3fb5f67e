"""Opening a dataset directory: what it gives, and one sentence for each way in which it can be broken."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from jaxepi.data import open_dataset
from jaxepi.errors import JaxepiError


def _shard(path: Path, number: int) -> Path:
    return path / f"melody-train.tfrecord-0000{number}-of-00003"


def test_records_come_back_as_written(dataset_dir: Path, benchmark: ModuleType) -> None:
    dataset = open_dataset(dataset_dir, kinds=("melody",))
    assert dataset.splits == {"train": 23, "valid": 5}
    assert dataset.fingerprint == "synthetic-0"
    split = dataset.split("train")
    assert len(split) == 23
    written = list(benchmark.synthetic_records(23, tracks=3, window=2000, seed=0))
    for number in (22, 0, 8, 9, 10):
        record = split[number]
        assert record.keys() == written[number].keys()
        for name, expected in written[number].items():
            if isinstance(expected, np.ndarray):
                assert record[name].dtype == expected.dtype
                np.testing.assert_array_equal(record[name], expected)
            else:
                assert record[name] == expected and type(record[name]) is type(expected)


def test_iteration_ends_and_numbers_outside_raise(dataset_dir: Path) -> None:
    split = open_dataset(dataset_dir).split("valid")
    assert [record["start"] for record in split] == [0, 2000, 4000, 6000, 8000]
    for number in (5, -1):
        with pytest.raises(IndexError, match=f"0 to 4, not {number}"):
            split[number]


def test_tensorflow_reads_the_same_directory(dataset_dir: Path) -> None:
    pytest.importorskip("tensorflow")
    import tensorflow_datasets as tfds

    theirs = tfds.builder_from_directory(dataset_dir).as_dataset(split="valid").as_numpy_iterator()
    for ours, record in zip(open_dataset(dataset_dir).split("valid"), theirs, strict=True):
        assert record["key"].decode() == ours["key"]
        np.testing.assert_array_equal(record["value"], ours["value"])


def test_reading_does_not_import_tensorflow(dataset_dir: Path) -> None:
    program = """
import sys
from jaxepi.data import BatchStream, open_dataset
split = open_dataset(sys.argv[1]).split("train")
stack = lambda records: {"start": [record["start"] for record in records]}
with BatchStream(split, stack, 4, epochs=1) as stream:
    assert sum(len(batch["start"]) for batch in stream) == 20
print(sorted(name for name in ("tensorflow", "torch") if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, dataset_dir],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_missing_or_stale_index_is_built_anew(dataset_dir: Path) -> None:
    expected = [record["start"] for record in open_dataset(dataset_dir).split("train")]
    index = dataset_dir / "record_index.npz"
    with np.load(index) as stored:
        offsets = {name: stored[name] for name in stored.files}
    shifted = {name: np.append(starts[:-1], starts[-1:] + np.uint64(1)) for name, starts in offsets.items()}
    for content in ({}, shifted, {name: starts[:-1] for name, starts in offsets.items()}):
        np.savez(index, **content)
        assert [record["start"] for record in open_dataset(dataset_dir).split("train")] == expected
    index.write_bytes(b"not a zip file")
    assert [record["start"] for record in open_dataset(dataset_dir).split("train")] == expected
    index.unlink()
    assert [record["start"] for record in open_dataset(dataset_dir).split("train")] == expected


def test_missing_directory_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(
        JaxepiError, match=r"nowhere: there is no dataset here.*`python -m data_prep melody --out .*nowh"
    ):
        open_dataset(tmp_path / "nowhere", kinds=("melody",))
    with pytest.raises(JaxepiError, match="no dataset here"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("file", ["manifest.json", "dataset_info.json", "features.json"])
def test_incomplete_directory_names_the_missing_file(dataset_dir: Path, file: str) -> None:
    (dataset_dir / file).unlink()
    with pytest.raises(JaxepiError, match=f"{dataset_dir}: .*not a complete dataset: {file} is missing"):
        open_dataset(dataset_dir)


def _edit_manifest(path: Path, **changes: object) -> None:
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_another_kind_is_refused(dataset_dir: Path) -> None:
    assert open_dataset(dataset_dir, kinds=("coverage", "melody")).kind == "melody", "as manifests said before kinds"
    _edit_manifest(dataset_dir, kind="deepcpg")
    assert open_dataset(dataset_dir).kind == "deepcpg"
    with pytest.raises(JaxepiError, match="is of kind 'deepcpg', but 'coverage' or 'melody' was asked for"):
        open_dataset(dataset_dir, kinds=("coverage", "melody"))
    with pytest.raises(JaxepiError, match="is of kind 'deepcpg', but 'melody' was asked for"):
        open_dataset(dataset_dir, kinds=("melody",))


def test_counts_are_checked_against_the_manifest(dataset_dir: Path) -> None:
    _edit_manifest(dataset_dir, splits={"train": {"records": 24}, "valid": {"records": 5}})
    with pytest.raises(JaxepiError, match="split 'train' has 24 records, but dataset_info.json says 23"):
        open_dataset(dataset_dir)
    _edit_manifest(dataset_dir, splits={"train": {"records": 23}})
    with pytest.raises(JaxepiError, match="split 'valid' has 0 records, but dataset_info.json says 5"):
        open_dataset(dataset_dir)


def test_what_the_manifest_tells_of_records_is_in_them(dataset_dir: Path) -> None:
    _edit_manifest(dataset_dir, kind="coverage", labels=False, conservation=None)
    open_dataset(dataset_dir)
    _edit_manifest(dataset_dir, conservation={"missing": 0.0})
    with pytest.raises(JaxepiError, match="tells of conservation, but by features.json records hold no 'conservation'"):
        open_dataset(dataset_dir)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a JSON object"),
        ("3", "not a JSON object"),
        ('{"fingerprint": "a", "splits": {}}', "'kind' is missing"),
        ('{"system": "melody"}', "'fingerprint' is missing"),
    ],
)
def test_a_damaged_manifest_is_named(dataset_dir: Path, content: str, words: str) -> None:
    (dataset_dir / "manifest.json").write_text(content)
    with pytest.raises(JaxepiError, match=f"manifest.json: .*{words}"):
        open_dataset(dataset_dir)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_damaged_metadata_is_named(dataset_dir: Path, file: str) -> None:
    (dataset_dir / file).write_text("{")
    with pytest.raises(JaxepiError, match=f"{dataset_dir}: TFDS cannot read"):
        open_dataset(dataset_dir)


def test_names_of_shards_that_tfds_cannot_make_are_told(dataset_dir: Path) -> None:
    file = dataset_dir / "dataset_info.json"
    file.write_text(file.read_text().replace("{SPLIT}", "{SPLMT}"))
    with pytest.raises(JaxepiError, match=f"{dataset_dir}: TFDS cannot read"):
        open_dataset(dataset_dir)


def test_a_missing_split_gives_the_nearest_name(dataset_dir: Path) -> None:
    with pytest.raises(JaxepiError, match=r"no split 'validation' \(did you mean 'valid'\?\).*has train, valid"):
        open_dataset(dataset_dir).split("validation")


def test_a_missing_shard_is_found_on_opening(dataset_dir: Path) -> None:
    _shard(dataset_dir, 1).unlink()
    with pytest.raises(JaxepiError, match=f"{_shard(dataset_dir, 1)}: this file of split 'train' is missing"):
        open_dataset(dataset_dir)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_truncated_shard_is_found_before_reading(dataset_dir: Path, indexed: bool) -> None:
    shard = _shard(dataset_dir, 2)
    shard.write_bytes(shard.read_bytes()[:-100])
    if not indexed:
        (dataset_dir / "record_index.npz").unlink()
    with pytest.raises(JaxepiError, match=f"{shard}: the file is truncated.*inside record 12"):
        open_dataset(dataset_dir).split("train")


@pytest.mark.parametrize("content", [b"", b"short"])
def test_an_empty_shard_is_found_before_reading(dataset_dir: Path, content: bytes) -> None:
    shard = _shard(dataset_dir, 2)
    shard.write_bytes(content)
    with pytest.raises(JaxepiError, match=f"{shard}: the file (holds 0 records|is truncated)"):
        open_dataset(dataset_dir).split("train")


def test_a_shard_cut_between_records_is_found_before_reading(dataset_dir: Path) -> None:
    shard = _shard(dataset_dir, 2)
    with np.load(dataset_dir / "record_index.npz") as stored:
        shard.write_bytes(shard.read_bytes()[: int(stored[shard.name][-1])])
    with pytest.raises(JaxepiError, match=f"{shard}: the file holds 12 records, but dataset_info.json promises 13"):
        open_dataset(dataset_dir).split("train")


def test_a_flipped_bit_is_found_on_reading(dataset_dir: Path) -> None:
    shard = _shard(dataset_dir, 0)
    data = bytearray(shard.read_bytes())
    data[600] ^= 4
    shard.write_bytes(bytes(data))
    split = open_dataset(dataset_dir).split("train")
    split[1]
    with pytest.raises(JaxepiError, match=f"{shard}: record 0 at byte 0 is corrupt"):
        split[0]


def test_records_of_other_features_are_named(dataset_dir: Path) -> None:
    file = dataset_dir / "features.json"
    text = file.read_text()
    assert "2000" in text
    file.write_text(text.replace("2000", "2001"))
    with pytest.raises(JaxepiError, match="record 0 cannot be decoded as features.json describes it"):
        open_dataset(dataset_dir).split("valid")[0]


def test_joined_splits_come_one_after_the_other(dataset_dir: Path) -> None:
    dataset = open_dataset(dataset_dir)
    joined, train, valid = (dataset.split(name) for name in ("valid+train", "train", "valid"))
    assert len(joined) == 28
    assert [r["key"] for r in joined] == [r["key"] for r in valid] + [r["key"] for r in train]
    with pytest.raises(JaxepiError, match="'train\\+train' names the split 'train' twice"):
        dataset.split("train+train")
    with pytest.raises(JaxepiError, match=r"there is no split 'vali' \(did you mean 'valid'\?\)"):
        dataset.split("train+vali")
