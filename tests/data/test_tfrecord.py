"""TFRecord files: index, random access, checksums, and agreement with TensorFlow's own writer."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxepi.data.tfrecord import FRAMING_BYTES, RecordFile, frame, index_shard
from jaxepi.errors import JaxepiError

PAYLOADS = [bytes([i]) * (1 + 37 * i) for i in range(20)]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "toy.tfrecord"
    path.write_bytes(b"".join(map(frame, PAYLOADS)))
    return path


def test_index_and_random_access(shard: Path) -> None:
    offsets = index_shard(shard)
    assert offsets.dtype == np.uint64
    assert offsets.tolist() == [sum(len(p) + FRAMING_BYTES for p in PAYLOADS[:i]) for i in range(len(PAYLOADS))]
    records = RecordFile(shard)
    assert [records.read(i) for i in (7, 0, 19, 7)] == [PAYLOADS[i] for i in (7, 0, 19, 7)]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert len(index_shard(tmp_path / "empty")) == 0 == len(RecordFile(tmp_path / "empty"))


def test_many_threads_and_pickle(shard: Path) -> None:
    records = pickle.loads(pickle.dumps(RecordFile(shard)))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: records.read(i % 20), range(2000)))
    assert read == [PAYLOADS[i % 20] for i in range(2000)]


def test_agrees_with_tensorflow_in_both_directions(shard: Path, tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    assert [bytes(r) for r in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()] == PAYLOADS
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    assert (tmp_path / "theirs").read_bytes() == shard.read_bytes()


@pytest.mark.parametrize("cut", [1, 3, 10, 200])
def test_truncation_names_file_and_offset(shard: Path, cut: int) -> None:
    data = shard.read_bytes()
    offsets = index_shard(shard)
    shard.write_bytes(data[:-cut])
    with pytest.raises(JaxepiError, match=rf"{shard}.*truncated.*byte {len(data) - cut} inside record 19.*rerun"):
        index_shard(shard)
    with pytest.raises(JaxepiError, match=rf"{shard}: record 19 at byte {offsets[19]} "):
        RecordFile(shard, offsets).read(19)


def test_truncation_inside_a_header(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes() + b"\x01\x00\x00")
    with pytest.raises(JaxepiError, match="truncated.*inside record 20"):
        index_shard(shard)


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_bit_in_the_payload_names_file_and_record(shard: Path) -> None:
    offset = int(index_shard(shard)[5])
    _flip(shard, offset + 12 + 30)
    records = RecordFile(shard)
    assert records.read(4) == PAYLOADS[4]
    with pytest.raises(JaxepiError, match=rf"{shard}: record 5 at byte {offset} is corrupt"):
        records.read(5)


def test_a_flipped_bit_in_the_length_is_found_by_the_index(shard: Path) -> None:
    offset = int(index_shard(shard)[5])
    _flip(shard, offset)
    with pytest.raises(JaxepiError, match=rf"record 5 at byte {offset} has a damaged header"):
        index_shard(shard)


def test_a_wrong_index_is_told_from_a_wrong_file(shard: Path) -> None:
    offsets = np.delete(index_shard(shard), 3)
    with pytest.raises(JaxepiError, match="record_index.npz"):
        RecordFile(shard, offsets).read(2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JaxepiError, match="nowhere.tfrecord.*missing"):
        index_shard(tmp_path / "nowhere.tfrecord")
