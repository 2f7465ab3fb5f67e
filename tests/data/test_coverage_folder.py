"""The original Basenji layout: a small folder written here, the original's own output, and real data of two genomes."""

import json
import shutil
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxepi.data import BatchStream, open_dataset
from jaxepi.data.coverage_folder import cache_folder
from jaxepi.data.tfrecord import frame
from jaxepi.errors import JaxepiError

SHARED = Path(__file__).parents[3] / "shared"
REAL = SHARED / "data" / "real" / "basenji_tiny"
LENGTH, CROP, BINS, WIDTH, TRACKS = 96, 16, 8, 8, 3
COUNTS = {"train": (4, 3), "valid": (2,), "test": (2, 0)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def _example(features: dict[str, bytes]) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    for name, value in features.items():
        example.features.feature[name].bytes_list.value.append(value)
    return example.SerializeToString()


def _record(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    sequence = random.integers(0, 5, LENGTH).astype(np.uint8)
    return sequence, random.normal(size=(BINS, TRACKS)).astype(np.float16)


def write_folder(path: Path, *, one_hot: bool = False, whole_windows: bool = False, **statistics: Any) -> Path:
    """Records 0, 1, 2, ... in the shards of COUNTS, one after the other, as the original programs write them."""
    (path / "tfrecords").mkdir(parents=True)
    sizes = {"num_targets": TRACKS, "seq_length": LENGTH, "pool_width": WIDTH, "crop_bp": CROP, "target_length": BINS}
    sizes |= {f"{split}_seqs": sum(files) + 5 for split, files in COUNTS.items()}  # as before a mappability filter
    (path / "statistics.json").write_text(json.dumps(sizes | ({} if one_hot else {"seq_1hot": True}) | statistics))
    rows = [
        "\tidentifier\tfile\tstrand_pair\tdescription",
        "7\ta+\tx\t8\tCAGE:a",
        "8\ta-\tx\t7\tCAGE:a",
        "9\tb\tx\t9\t",
    ]
    (path / "targets.txt").write_text("\n".join(rows) + "\n")
    number, lines = 0, []
    for split, files in COUNTS.items():
        for shard, count in enumerate(files):
            framed = b""
            for _ in range(count):
                sequence, target = _record(number)
                letters = np.eye(5, 4, dtype=np.uint8)[sequence] if one_hot else sequence
                more = {"umap": bytes(BINS)} if number % 2 else {}
                framed += frame(_example({"sequence": letters.tobytes(), "target": target.tobytes()} | more))
                start = 1000 * number - (CROP if whole_windows else 0)
                lines.append(
                    f"chr{number % 3}\t{start}\t{start + (LENGTH if whole_windows else LENGTH - 2 * CROP)}\t{split}"
                )
                number += 1
            (path / "tfrecords" / f"{split}-{shard}.tfr").write_bytes(zlib.compress(framed))
    (path / "sequences.bed").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "hg")


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("whole_windows", [False, True])
def test_records_come_back_as_written(tmp_path: Path, one_hot: bool, whole_windows: bool) -> None:
    path = write_folder(tmp_path / "hg", one_hot=one_hot, whole_windows=whole_windows)
    dataset = open_dataset(path, kinds=("coverage",))
    assert dataset.kind == "coverage" and dataset.splits == {"train": 7, "valid": 2, "test": 2}
    wanted = {"window": LENGTH, "bins": BINS, "bin_width": WIDTH, "crop": CROP, "tracks": ["a+", "a-", "b"],
              "track_descriptions": ["CAGE:a", "CAGE:a", ""], "strand_pair": [1, 0, 2]}  # fmt: skip
    assert {name: dataset.manifest[name] for name in wanted} == wanted
    first = {"train": 0, "valid": 7, "test": 9}
    for name in ("train", "test", "valid+train"):
        numbers = [first[part] + i for part in name.split("+") for i in range(dataset.splits[part])]
        split = dataset.split(name)
        assert len(split) == len(numbers)
        for place, number in reversed(list(enumerate(numbers))):
            record, (sequence, target) = split[place], _record(number)
            assert record["sequence"].dtype == np.uint8 and record["target"].dtype == np.float16
            np.testing.assert_array_equal(record["sequence"], sequence)
            np.testing.assert_array_equal(record["target"], target)
            start = 1000 * number - CROP
            assert (record["chrom"], record["start"]) == (f"chr{number % 3}", start)
            assert record["key"] == f"chr{number % 3}:{start}-{start + LENGTH}"


def test_places_may_be_unknown(folder: Path) -> None:
    (folder / "sequences.bed").unlink()
    record = open_dataset(folder).split("valid")[1]
    assert (record["key"], record["chrom"], record["start"]) == ("valid:1", "", 0)


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COUNTS, "train", (1,) * 12)
    split = open_dataset(write_folder(tmp_path / "hg")).split("train")
    assert [record["start"] + CROP for record in split] == [1000 * number for number in range(12)]


def test_shards_are_unpacked_once(folder: Path, cache: Path) -> None:
    fingerprint = open_dataset(folder).fingerprint
    made = {file.name: file.stat().st_mtime_ns for file in (cache / fingerprint).iterdir() if file.name != "lock"}
    assert made.keys() == {"train-0.tfr", "train-1.tfr", "valid-0.tfr", "test-0.tfr", "test-1.tfr"}
    moved = Path(shutil.copytree(folder, folder.with_name("moved")))
    assert open_dataset(moved).fingerprint == fingerprint
    assert all((cache / fingerprint / name).stat().st_mtime_ns == time for name, time in made.items())
    (cache / fingerprint / "train-1.tfr").unlink()  # as after an interruption
    np.testing.assert_array_equal(open_dataset(folder).split("train")[5]["target"], _record(5)[1])


def test_another_content_is_another_dataset(folder: Path, tmp_path: Path) -> None:
    before = open_dataset(folder).fingerprint
    targets = folder / "targets.txt"
    targets.write_text(targets.read_text().replace("CAGE:a", "CAGE:c"))
    after = open_dataset(folder)
    assert after.fingerprint != before and after.manifest["track_descriptions"][0] == "CAGE:c"


def test_threads_read_the_same_at_once(folder: Path) -> None:
    split = open_dataset(folder).split("train")
    alone = [record["target"].tobytes() for record in split]
    found: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append([r["target"].tobytes() for r in split])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 8


def test_a_stream_gives_every_record_once(folder: Path) -> None:
    starts = lambda records: {"start": np.array([record["start"] for record in records if record])}  # noqa: E731
    with BatchStream(open_dataset(folder).split("train"), starts, 2, epochs=1, remainder="pad", readers=3) as stream:
        seen = np.concatenate([batch["start"] for batch in stream])
    assert sorted(seen + CROP) == [1000 * number for number in range(7)]


def _damage(path: Path, what: str) -> None:
    content = path.read_bytes()
    framed = bytearray(zlib.decompress(content))
    framed[100] ^= 1
    changed = {
        "truncated": content[: len(content) // 2],
        "cut": zlib.compress(zlib.decompress(content)[:-10]),
        "corrupt": zlib.compress(bytes(framed)),
        "not zlib": b"tfrecord" + content,
        "longer": content + b"x",
        "without records": b"",
    }
    path.write_bytes(changed[what])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("truncated", "train-1.tfr: the file is truncated"),
        ("cut", "train-1.tfr: the file is truncated: it ends inside record 2"),
        ("corrupt", "train-1.tfr: record 0 at byte 0 is corrupt"),
        ("not zlib", "train-1.tfr: this is no whole ZLIB stream"),
        ("longer", "train-1.tfr: the file goes on after the end"),
        ("without records", "split 'train' hold 4 records, but sequences.bed tells of 7"),
    ],
)
def test_a_damaged_shard_is_named_on_opening(folder: Path, cache: Path, what: str, words: str) -> None:
    _damage(folder / "tfrecords" / "train-1.tfr", what)
    with pytest.raises(JaxepiError, match=words):
        open_dataset(folder)
    if what != "without records":
        assert not list(cache.glob("*/train-1.tfr")) and not list(cache.glob("*/.*")), "nothing half-made is kept"


def test_a_damaged_unpacked_shard_is_named(folder: Path, cache: Path) -> None:
    (place,) = [cache / open_dataset(folder).fingerprint / "train-0.tfr"]
    content = bytearray(place.read_bytes())
    content[100] ^= 1
    place.write_bytes(bytes(content))
    with pytest.raises(JaxepiError, match=f"{place}: this unpacked shard is damaged; delete it"):
        open_dataset(folder).split("train")[0]
    place.write_bytes(bytes(content[:-9]))
    with pytest.raises(JaxepiError, match=f"{place}: this unpacked shard is damaged; delete it"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("statistics", "words"),
    [
        ({"pool_width": 7}, "8 bins of 7 bp do not fill a window of 96 bp without 16 bp"),
        ({"crop_bp": None}, "'crop_bp' is not a whole number"),
        ({"num_targets": 4}, "targets.txt: 3 lines were found, but statistics.json tells of 4 tracks"),
        ({"diagonal_offset": 2}, "holds contact maps"),
        (
            {"target_length": 4, "pool_width": 16},
            "train-0.tfr: record 0 cannot be decoded as statistics.json describes",
        ),
    ],
)
def test_contradictions_are_named(tmp_path: Path, statistics: dict[str, Any], words: str) -> None:
    path = write_folder(tmp_path / "hg", **statistics)
    with pytest.raises(JaxepiError, match=words):
        open_dataset(path).split("train")[0]


def test_missing_and_wrong_files_are_named(folder: Path) -> None:
    (folder / "tfrecords" / "train-0.tfr").rename(folder / "aside")
    with pytest.raises(JaxepiError, match="train-0.tfr: this shard is missing"):
        open_dataset(folder)
    (folder / "aside").rename(folder / "tfrecords" / "train-0.tfr")
    bed = folder / "sequences.bed"
    bed.write_text(bed.read_text().replace("chr1\t1000\t1064", "chr1\t1000\t1065"))
    with pytest.raises(JaxepiError, match="sequences.bed: line 2 is .*of 96 or 64 bp were expected"):
        open_dataset(folder)
    bed.unlink()
    (folder / "targets.txt").unlink()
    with pytest.raises(JaxepiError, match="targets.txt: this table of the tracks is missing"):
        open_dataset(folder)
    (folder / "statistics.json").write_text("[]")
    with pytest.raises(JaxepiError, match="statistics.json: this is not a JSON object"):
        open_dataset(folder)


def test_more_records_than_were_ever_counted_are_refused(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "hg", valid_seqs=1)
    open_dataset(path)
    (path / "sequences.bed").unlink()
    with pytest.raises(JaxepiError, match="split 'valid' hold 2 records, but statistics.json tells of 1"):
        open_dataset(path)


def test_another_kind_is_refused_before_any_work(folder: Path, cache: Path) -> None:
    with pytest.raises(JaxepiError, match="is of kind 'coverage', but 'melody' was asked for"):
        open_dataset(folder, kinds=("melody",))
    assert not cache.exists()


def test_no_place_for_the_unpacked_shards(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(JaxepiError, match="Cannot unpack .*hg into .*set XDG_CACHE_HOME"):
        open_dataset(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(JaxepiError, match="has 0.0 GB free, but unpacking"):
        open_dataset(folder)


def test_the_original_programs_output_is_read(tmp_path: Path, golden_path: Callable[[str, str], Path]) -> None:
    golden = golden_path("basenji", "data_small")
    expected = np.load(golden / "expected_pct.npz")
    path = tmp_path / "golden"
    (path / "tfrecords").mkdir(parents=True)
    shutil.copy(golden / "targets.txt", path)
    (path / "statistics.json").write_text(str(expected["out:text/statistics.json"]))
    kept = [line for line in str(expected["out:text/sequences.bed"]).splitlines() if not line.endswith("train")]
    (path / "sequences.bed").write_text("\n".join(kept) + "\n")
    for name in ("valid-0", "test-0"):
        shutil.copy(golden / "tfrecords_pct" / f"{name}.tfr", path / "tfrecords")
    dataset = open_dataset(path)
    assert dataset.splits == {"valid": 14, "test": 12}, "fewer than statistics.json says: it counts before the filter"
    for name in ("valid", "test"):
        split = dataset.split(name)
        np.testing.assert_array_equal(np.stack([r["sequence"] for r in split]), expected[f"out:{name}-0/sequence"])
        np.testing.assert_array_equal(np.stack([r["target"] for r in split]), expected[f"out:{name}-0/target"])
        np.testing.assert_array_equal(np.stack([r["unmappable"] for r in split]), expected[f"out:{name}-0/umap"])


@pytest.mark.skipif(not REAL.exists(), reason="the real data are not here")
@pytest.mark.parametrize(("genome", "tracks", "counts"), [("hg38", 74, (45, 10, 10)), ("mm10", 32, (28, 13, 13))])
def test_real_data_are_read_as_tensorflow_reads_them(genome: str, tracks: int, counts: tuple[int, ...]) -> None:
    dataset = open_dataset(REAL / genome)
    assert dataset.splits == dict(zip(("train", "valid", "test"), counts, strict=True))
    assert len(set(dataset.manifest["tracks"])) == tracks
    pair = np.array(dataset.manifest["strand_pair"])
    np.testing.assert_array_equal(pair[pair], np.arange(tracks))
    split = dataset.split("valid")
    for record in split:
        assert record["sequence"].shape == (131_072,) and record["target"].shape == (2048, tracks)
        assert record["sequence"].max() <= 4 and np.isfinite(record["target"].astype(np.float32)).all()
    places = [line.split() for line in (REAL / genome / "sequences.bed").read_text().splitlines()]
    places = [(chrom, int(start) - 32_768) for chrom, start, _, name in places if name == "valid"]
    assert [(record["chrom"], record["start"]) for record in split] == places
    tf = pytest.importorskip("tensorflow")
    files = sorted(map(str, (REAL / genome / "tfrecords").glob("valid-?.tfr")))
    described = {name: tf.io.FixedLenFeature([], tf.string) for name in ("sequence", "target")}
    number = -1
    for number, raw in enumerate(tf.data.TFRecordDataset(files, compression_type="ZLIB")):
        theirs = tf.io.parse_single_example(raw, described)
        assert theirs["sequence"].numpy() == split[number]["sequence"].tobytes()
        assert theirs["target"].numpy() == split[number]["target"].tobytes()
    assert number + 1 == len(split)
