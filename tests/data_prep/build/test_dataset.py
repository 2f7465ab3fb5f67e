"""A dataset is all or nothing: the same bytes for any way of running, no-op reruns, and no trace of what failed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.build import dataset
from data_prep.build.dataset import file_digest
from data_prep.build.folder import BuildFolder
from data_prep.build.recipe import Tally
from jaxepi.errors import JaxepiError

ROOT = Path(__file__).parents[3]


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def command(argv):
    return [sys.executable, "-m", "data_prep", *argv]


@pytest.fixture
def built(world, prepare):
    """A dataset at world.folder / 'd' and its command line."""
    argv = world.argv(world.folder / "d")
    status, _, err = prepare(argv)
    assert status == 0, err
    return world.folder / "d", argv


def test_the_directory(built):
    out, _ = built
    manifest = json.loads((out / "manifest.json").read_text())
    shards = sorted(p.name for p in out.glob("*.tfrecord-*"))
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [*shards, "dataset_info.json", "features.json", "manifest.json", "record_index.npz"]
    )
    index = np.load(out / "record_index.npz")
    assert sorted(index.files) == shards
    for split, counts in manifest["splits"].items():
        own = [index[name] for name in shards if f"-{split}." in name]
        assert len(own) == counts["shards"] and sum(map(len, own)) == counts["records"]
    assert manifest["kind"] == manifest["system"] == "melody" and manifest["value_dtype"] == "float32"
    assert [entry["role"] for entry in manifest["inputs"]] == ["fasta", "track track0", "track track1", "track track2"]
    assert not list(out.parent.glob("*.tmp-*"))


def test_counts_that_came_later_leave_fingerprints_as_they_were():
    def fingerprint(**counts):
        tally = Tally()
        tally.add(records=3, **counts)
        recipe = SimpleNamespace(name="melody", manifest=lambda made: {"splits": {"train": dict(made["train"].sums)}})
        return dataset._manifest(recipe, {}, [], {"train": tally}, {"train": 1})["fingerprint"]

    assert fingerprint() == fingerprint(ambiguous_bases=2) != fingerprint(n_bases=1)


def test_the_same_bytes_for_one_process_and_two(world, built, prepare, monkeypatch):
    monkeypatch.setattr("data_prep.melody.recipe.WINDOWS_PER_BLOCK", 3)
    out = world.folder / "two"
    status, _, err = prepare([*world.argv(out), "--processes", "2"])
    assert status == 0, err
    assert contents(out) == contents(built[0])


def test_the_same_again_is_a_no_op(built, prepare, monkeypatch):
    out, argv = built
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    # A process that was killed behind the rename leaves its own folder.
    (out.parent / "d.tmp-host-1").mkdir()
    monkeypatch.setattr("data_prep.build.dataset.build", None)
    status, printed, _ = prepare([*argv, "--processes", "2"])
    assert status == 0 and "nothing to do" in printed
    assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before
    assert not list(out.parent.glob("d.tmp-*"))


def test_moved_inputs_are_the_same_inputs(world, built, prepare):
    out, argv = built
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir()
    moved = elsewhere / "track0.bw"
    world.bigwigs[0].rename(moved)
    argv = [str(moved) if word == str(world.bigwigs[0]) else word for word in argv]
    status, printed, err = prepare(argv)
    assert status == 0 and "nothing to do" in printed, err


def test_other_arguments_are_named_and_overwrite_replaces(world, built, tools, prepare):
    out, argv = built
    before = contents(out)
    for more, difference in [
        (["--stride", "2000"], "--stride 4000, not 2000"),
        (["--dyads", "as-recorded"], "--dyads both, not as-recorded"),
        (["--bigwigs", str(world.bigwigs[0])], "--tracks track0 track1 track2, not track0"),
    ]:
        status, _, err = prepare([*argv, *more])
        assert status == 2 and difference in err and "--overwrite" in err
    tools.write_bigwig(world.bigwigs[2], world.lengths, {"chr1": (np.array([3]), np.array([5]), np.array([0.5]))})
    status, _, err = prepare(argv)
    assert status == 2 and "another content of" in err and "track2.bw" in err
    assert contents(out) == before
    status, _, err = prepare([*argv, "--overwrite", "--stride", "2000"])
    assert status == 0, err
    assert json.loads((out / "manifest.json").read_text())["arguments"]["stride"] == 2000
    assert not list(out.parent.glob("*.tmp-*"))


def test_a_folder_that_is_no_dataset_is_not_touched(world, prepare):
    out = world.folder / "d"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    status, _, err = prepare(world.argv(out))
    assert status == 2 and "is no dataset of data_prep" in err
    assert contents(out) == {"thesis.txt": b"precious"}
    (out / "manifest.json").write_text('[{"kind": "melody"}]')
    status, _, err = prepare(world.argv(out))
    assert status == 2 and "is no dataset of data_prep" in err
    (out / "manifest.json").unlink()
    (out / "thesis.txt").unlink()
    status, _, err = prepare(world.argv(out))  # an empty folder is fine
    assert status == 0, err


def wait_for_build_folder(folder, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if list(folder.glob("d.tmp-*/lock")):
            return
        time.sleep(0.01)
    raise AssertionError(f"the run made no working folder: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(world, prepare, number):
    argv = world.argv(world.folder / "d", "--stride", 10)
    process = subprocess.Popen(command(argv), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for_build_folder(world.folder, process)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (world.folder / "d").exists()
    left = list(world.folder.glob("d.tmp-*"))
    if number == signal.SIGKILL:
        assert len(left) == 1
    else:
        assert not left and err.strip() == "error: interrupted, and nothing was left behind"
    status, _, err = prepare(world.argv(world.folder / "d"))
    assert status == 0, err
    assert not list(world.folder.glob("d.tmp-*"))


def test_killed_runs_leave_no_worker(world):
    psutil = pytest.importorskip("psutil")
    argv = [*world.argv(world.folder / "d", "--stride", 10), "--processes", "2"]
    process = subprocess.Popen(command(argv), cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for_build_folder(world.folder, process)
    deadline = time.monotonic() + 30
    children = []
    while len(children) < 3 and time.monotonic() < deadline:  # two workers and the resource tracker
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert len(gone) >= 3 and not alive


def test_two_runs_into_one_place(world, prepare):
    out = world.folder / "d"
    with BuildFolder(out) as place:
        status, _, err = prepare(world.argv(out))
        assert status == 2 and f"another data_prep is writing {out}" in err
        assert place.folder.exists()
    status, _, err = prepare(world.argv(out))
    assert status == 0, err


def limited_files():
    """No file of this process may grow beyond 60 kB, as on a disk that is nearly full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_while_records_are_written(world):
    run = subprocess.run(
        command(world.argv(world.folder / "d")), cwd=ROOT, capture_output=True, text=True, preexec_fn=limited_files
    )
    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith(f"error: writing {world.folder / 'd'} failed") and "nothing was left behind" in line
    assert not list(world.folder.glob("d*"))


@pytest.mark.parametrize("where", ["index_shards", "json.dumps"])
def test_a_full_disk_at_the_end(world, prepare, monkeypatch, where):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "data_prep.build.dataset.index_shards" if where == "index_shards" else "data_prep.build.dataset._manifest", full
    )
    status, _, err = prepare(world.argv(world.folder / "d"))
    assert status == 2 and "failed (No space left on device) and nothing was left behind" in err
    assert not list(world.folder.glob("d*"))


def test_an_error_of_a_worker_process_is_one_sentence(world, prepare, tools):
    # A record at every base, so that the data are longer than the header; then the data are overwritten.
    at = np.arange(0, 40_000, 2)
    value = np.random.default_rng(0).random(len(at))
    track = tools.write_bigwig(world.folder / "bad.bw", world.lengths, {"chr1": (at, at + 1, value)})
    raw = bytearray(track.read_bytes())
    raw[2000:30_000] = bytes(28_000)
    track.write_bytes(raw)
    status, _, err = prepare(world.argv(world.folder / "d", "--bigwigs", track, "--processes", 2))
    assert status == 2 and "bad.bw cannot be read at chr1:" in err and len(err.strip().splitlines()) == 1
    assert not list(world.folder.glob("d*"))


def test_what_cannot_be_digested_is_told(tmp_path):
    with pytest.raises(JaxepiError, match=f"{tmp_path} cannot be read .* a file was expected"):
        file_digest(tmp_path)


def test_the_digest_sees_content_not_place(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"x" * 1000)
    b.write_bytes(b"x" * 1000)
    assert file_digest(a) == file_digest(b)
    b.write_bytes(b"x" * 999 + b"y")
    assert file_digest(a) != file_digest(b)
    with a.open("wb") as file:
        os.truncate(file.fileno(), 100 << 20)
    first = file_digest(a)
    with a.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"z")
    assert file_digest(a) != first


def test_publishing_over_something_that_appeared_is_refused(tmp_path):
    out = tmp_path / "d"
    with pytest.raises(JaxepiError, match="appeared while"), BuildFolder(out) as place:
        (place.folder / "made").mkdir()
        out.mkdir()
        (out / "other").write_text("x")
        place.publish(place.folder / "made", replace=False)
    assert (out / "other").read_text() == "x" and not list(tmp_path.glob("d.tmp-*"))
