"""The command embeddings: both layouts of both inputs, splits, number types, and what does not belong together."""

import json

import h5py
import numpy as np
import pytest

from data_prep.embeddings import sample
from data_prep.embeddings.command import parser
from data_prep.labels.track_table import paper_tracks
from jaxepi.data import open_dataset
from jaxepi.genome.window_table import COLUMNS
from jaxepi.storage.embedding_store import EmbeddingStore


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The files of a small sample."""
    out = tmp_path_factory.mktemp("embeddings")
    sample.prepare(out, seed=3, windows=20)
    return out / "raw"


@pytest.fixture
def run(raw, prepare, tmp_path):
    def call(*more, out="out", embeddings=raw / "embeddings", labels=raw / "labels"):
        words = ["embeddings", "--embeddings", embeddings, "--labels", labels, "--out", tmp_path / out]
        return prepare([str(word) for word in [*words, "--processes", 1, "--no-progress", *more]])

    return call


def made(path):
    """All records in the order of the rows, and the manifest."""
    data = open_dataset(path, ("embeddings",))
    records = [data.split(name)[i] for name in data.splits for i in range(data.splits[name])]
    return sorted(records, key=lambda record: record["start"]), data.manifest


@pytest.fixture(scope="module")
def truth():
    embeddings, labels, _ = sample.make(3, 20)
    return embeddings, labels


def test_every_option_is_explained():
    for action in parser()._actions:
        assert action.help, action.option_strings


def test_folders(run, raw, truth, tmp_path):
    status, out, err = run()
    assert status == 0 and "train: 12 windows (0 left out)" in out, err
    records, manifest = made(tmp_path / "out")
    embeddings, labels = truth
    for row, record in enumerate(records):
        assert record["key"] == f"chr1:{row * 6144}-{(row + 1) * 6144}" and record["start"] == row * 6144
        np.testing.assert_array_equal(record["embedding"], embeddings[row])
        np.testing.assert_array_equal(record["target"], labels[row])
    assert records[0]["embedding"].dtype == np.float16 and records[0]["target"].dtype == np.float32
    told = json.loads((raw / "embeddings" / "manifest.json").read_text())
    expected = {
        "window": 6144, "bins": 32, "bin_width": 128, "crop": 1024, "channels": 16, "resolution": "bin",
        "tracks": list(sample.TRACKS), "embedding_dtype": "float16", "trunk": told["trunk"],
        "embeddings_fingerprint": told["fingerprint"],
    }  # fmt: skip
    assert {name: manifest[name] for name in expected} == expected
    missing = np.isnan(labels[:12]).sum((0, 1))
    assert manifest["splits"]["train"]["missing"] == missing.tolist() and missing.any()
    assert "nothing to do" in run()[1]
    status, _, err = run("--resolution", "window")
    assert status == 2 and "made with --resolution bin, not window" in err


def test_labels_of_windows(run, truth, tmp_path):
    assert run("--resolution", "window")[0] == 0
    records, manifest = made(tmp_path / "out")
    assert manifest["resolution"] == "window" and records[0]["target"].shape == (1, 6)
    np.testing.assert_allclose(records[4]["target"][0], np.nanmean(truth[1][4], axis=0), rtol=1e-6)


def test_the_files_of_the_original(run, truth, tmp_path):
    """embeddings.h5, the labels' HDF5 with 18 tracks, and sequences.bed."""
    embeddings, labels = truth
    labels = np.tile(labels, 3)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("embeddings", data=embeddings, chunks=(1, 32, 16), compression="gzip")
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["128bp_bins"], file["single_bin"] = labels, labels[:, :1]
    splits = ["train"] * 10 + ["valid"] * 4 + ["train"] + ["test"] * 5
    rows = [f"chr3\t{i * 9000}\t{i * 9000 + 6144}\t{split}\n" for i, split in enumerate(splits)]
    (tmp_path / "sequences.bed").write_text("".join(rows))
    files = {"embeddings": tmp_path / "e.h5", "labels": tmp_path / "l.h5"}
    status, _, err = run("--windows", tmp_path / "sequences.bed", **files)
    assert status == 0, err
    records, manifest = made(tmp_path / "out")
    assert (manifest["crop"], manifest["tracks"]) == (1024, [track.name for track in paper_tracks()])
    assert [record["chrom"] for record in records] == ["chr3"] * 20 and manifest["trunk"] is None
    assert open_dataset(tmp_path / "out").splits == {"train": 11, "valid": 4, "test": 5}
    for row, record in enumerate(records):
        np.testing.assert_array_equal(record["embedding"], embeddings[row])
        np.testing.assert_array_equal(record["target"], labels[row])
    more = ["--windows", tmp_path / "sequences.bed", "--splits", "a=0:8", "b=10:20", "a=8:9", "--resolution", "window"]
    assert run(*more, out="ranges", **files)[0] == 0
    assert open_dataset(tmp_path / "ranges").splits == {"a": 9, "b": 10}
    assert "tells its windows: give their BED file with --windows" in run(out="x", **files)[2]
    words = ["--windows", tmp_path / "sequences.bed", "--bin-width", 200, "--resolution", "window"]
    told = run(*words, out="x", **files)[2]
    assert "has 32 bins, which do not fit into windows of 6144 bp with 200 bp each: set --bin-width" in told


def test_plain_arrays_and_bfloat16(run, truth, tmp_path):
    embeddings, labels = truth
    bits = np.ascontiguousarray(embeddings.astype(np.float32)).view(np.uint32) >> 16
    arguments = {"format": "npy"}
    with EmbeddingStore(
        tmp_path / "b", arguments, count=20, shape=(32, 16), columns=COLUMNS, dtype="bfloat16", shard=7
    ) as store:
        rows = [("", "chr1", i * 6144, (i + 1) * 6144, "train") for i in range(20)]
        store.append(bits.astype(np.uint16), rows)
        store.finish(lambda files: json.dumps(described(files)))
    np.save(tmp_path / "l.npy", labels[:, 0])
    names = ["--track-names", *"abcdef", "--resolution", "window", "--drop-missing"]
    status, out, err = run(*names, embeddings=tmp_path / "b", labels=tmp_path / "l.npy")
    assert status == 0, err
    records, manifest = made(tmp_path / "out")
    kept = ~np.isnan(labels[:, 0]).any(1)
    assert 0 < len(records) == kept.sum() < 20 and f"({(~kept).sum()} left out)" in out
    assert manifest["embedding_dtype"] == "bfloat16" and manifest["splits"]["train"]["missing"] == [0] * 6
    row = int(np.flatnonzero(kept)[-1])
    np.testing.assert_array_equal(records[-1]["embedding"], bits[row])
    np.testing.assert_array_equal(records[-1]["target"], labels[row, :1])

    def refused(sentence, *more):
        status, _, err = run(*more, out="x", embeddings=tmp_path / "b", labels=tmp_path / "l.npy")
        assert status == 2 and sentence in err, err

    window = ["--resolution", "window"]
    refused("holds one value a window and track: give it with --resolution window", "--track-names", *"abcdef")
    refused("has 6 tracks and names none of them: name them with --track-names", *window)
    refused("--track-names has 2 names, but", *window, "--track-names", "a", "b")
    refused("--track-names names 'a' twice", *window, "--track-names", *"aabcde")
    np.save(tmp_path / "l.npy", np.where(np.arange(20)[:, None] == 5, np.inf, labels[:, 0]))
    refused("l.npy row 5 (chr1:30720-36864) has numbers that are infinite", *window, "--track-names", *"abcdef")
    np.save(tmp_path / "l.npy", labels[:19, 0])
    refused("has 20 rows and", *window, "--track-names", *"abcdef")


def described(files):
    """A manifest of embeddings."""
    told = {"kind": "embedding_arrays", "fingerprint": "", "splits": {"train": {"records": 20}}, "files": files}
    told |= {"window": 6144, "bins": 32, "channels": 16, "bin_width": 128, "crop": 1024, "count": 20, "shard": 7}
    return told | {"dtype": "bfloat16", "arguments": {"format": "npy"}, "trunk": {"system": "x"}}


def test_what_does_not_belong_together(run, raw, tmp_path):
    def refused(sentence, *more, **files):
        status, _, err = run(*more, **files)
        assert status == 2 and sentence in err and err.count("error: ") == 1, err
        assert not (tmp_path / "out").exists()

    rows = [f"chr1\t{i * 6144}\t{(i + 1) * 6144}\ttrain\n" for i in range(20)]
    bed = tmp_path / "w.bed"
    bed.write_text("".join(rows[:-1]))
    refused("w.bed has 19: give embeddings, labels and windows of the same windows", "--windows", bed)
    bed.write_text("".join([*rows[:3], rows[4], rows[3], *rows[5:]]))
    refused("row 3 is chr1:24576-30720 in", "--windows", bed)
    bed.write_text("".join(row.replace("\ttrain", "") for row in rows))
    refused("the windows name no split: give --windows", "--windows", bed)
    refused("--splits train=5: NAME=LOW:HIGH with rows", "--splits", "train=5")
    refused("--splits valid=9:21: there are only 20 rows", "--splits", "train=0:9", "valid=9:21")
    refused("--splits valid=8:20: row 8 is in another split", "--splits", "train=0:9", "valid=8:20")
    refused("--track-names does nothing beside a folder of labels", "--track-names", "a")
    refused("--bin-width does nothing beside a folder of embeddings", "--bin-width", 64)
    refused("is of kind 'label_arrays': the folder that `launch.py embed` wrote", embeddings=raw / "labels")
    refused("There are no embeddings at", embeddings=tmp_path / "nowhere.h5")
    refused("There are no labels at", labels=tmp_path / "nowhere")
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["other"] = np.zeros((20, 1, 6))
    refused("l.h5 holds 'other', but an array '128bp_bins' was expected", labels=tmp_path / "l.h5")
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["128bp_bins"] = np.zeros((20, 16, 6))
    refused("has labels of 16 bins and", "--track-names", *"abcdef", labels=tmp_path / "l.h5")
    (tmp_path / "l.npy").write_bytes(b"no array")
    refused("l.npy is damaged or no .npy file of numbers", labels=tmp_path / "l.npy")


def test_labels_of_other_bins_and_damage(run, raw, tmp_path):
    import shutil

    from jaxepi.data.manifest import sealed

    for name in ("embeddings", "labels"):
        shutil.copytree(raw / name, tmp_path / name)
    told = json.loads((raw / "labels" / "manifest.json").read_text())
    del told["checksum"]
    (tmp_path / "labels" / "manifest.json").write_text(sealed(told | {"crop": 512, "bin_width": 160}))
    status, _, err = run(labels=tmp_path / "labels")
    assert status == 2 and "was made with bin_width 160, but the embeddings of" in err
    shard = tmp_path / "embeddings" / "embeddings-00000.npy"
    held = bytearray(shard.read_bytes())
    held[-1] ^= 64
    shard.write_bytes(held)
    status, _, err = run(embeddings=tmp_path / "embeddings")
    assert status == 2 and "embeddings-00000.npy is not what was written, as its checksum tells" in err
    assert not (tmp_path / "out").exists()


def test_the_sample_can_be_learned(raw, truth):
    """Least squares on the embeddings of the training windows comes near the best possible on the others."""
    embeddings, labels = truth
    x = np.concatenate([embeddings.astype(float), np.ones((*embeddings.shape[:2], 1))], -1).reshape(-1, 17)
    y = labels.reshape(-1, 6)
    held_out = np.repeat(np.arange(20) >= 16, 32)
    told = json.loads((raw / "ceiling.json").read_text())["splits"]["test"]
    for k in range(6):
        known = ~np.isnan(y[:, k])
        weight = np.linalg.lstsq(x[known & ~held_out], y[known & ~held_out, k], rcond=None)[0]
        reached = np.corrcoef(x[known & held_out] @ weight, y[known & held_out, k])[0, 1]
        best = told["per_track"][sample.TRACKS[k]]["pearson_bin"]
        assert 0.8 < reached < best < 1
