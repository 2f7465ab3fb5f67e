"""What TFDS itself reads from a dataset, and Apache Beam's local runner against the local processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


def test_tfds_opens_and_reads_the_dataset(world, tools, prepare):
    tfds = pytest.importorskip("tensorflow_datasets")
    out = world.folder / "d"
    status, _, err = prepare(world.argv(out))
    assert status == 0, err
    builder = tfds.builder_from_directory(str(out))
    manifest = json.loads((out / "manifest.json").read_text())
    assert {n: s.num_examples for n, s in builder.info.splits.items()} == {
        n: s["records"] for n, s in manifest["splits"].items()
    }
    mine = tools.load(out)["test"]
    theirs = list(tfds.as_numpy(builder.as_dataset(split="test", shuffle_files=False)))
    assert len(mine) == len(theirs) > 0
    for a, b in zip(mine, theirs, strict=True):
        assert a["key"] == b["key"].decode() == f"{a['chrom']}:{a['start']}-{a['start'] + 4000}"
        for name in ("sequence", "position", "width", "value", "blanked"):
            np.testing.assert_array_equal(a[name], b[name])


def test_datasets_beyond_the_memory_of_tfds_are_sorted_in_small_pieces(world, prepare, monkeypatch):
    shuffle = pytest.importorskip("tensorflow_datasets.core.shuffle")
    argv = ("--windows", "train=random:600")
    status, _, err = prepare(world.argv(world.folder / "memory", *argv))
    assert status == 0, err
    sizes = []
    read = shuffle._Bucket.read_values
    monkeypatch.setattr(shuffle._Bucket, "read_values", lambda bucket: sizes.append(len(bucket)) or read(bucket))
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 50_000)
    status, _, err = prepare(world.argv(world.folder / "files", *argv))
    assert status == 0, err
    assert 0 < max(sizes) <= 3  # of 600 records
    a, b = ({p.name: p.read_bytes() for p in (world.folder / name).iterdir()} for name in ("memory", "files"))
    assert a == b


def test_beam_makes_the_same_records(world, tools, prepare):
    pytest.importorskip("apache_beam")
    local, beam = world.folder / "local", world.folder / "beam"
    status, _, err = prepare(world.argv(local))
    assert status == 0, err
    status, _, err = prepare(
        world.argv(beam, "--beam-runner", "DirectRunner", "--beam-options", "direct_num_workers=1")
    )
    assert status == 0, err
    a, b = (json.loads((folder / "manifest.json").read_text()) for folder in (local, beam))
    assert a == b
    records = tools.load(local), tools.load(beam)
    for split in records[0]:
        assert len(records[0][split]) > 0
        for mine, theirs in zip(*(own[split] for own in records), strict=True):
            assert mine.keys() == theirs.keys()
            for name in mine:
                np.testing.assert_array_equal(mine[name], theirs[name])


def test_no_accelerator_is_touched_and_nothing_is_chatted(world):
    probe = (
        "import os, runpy, sys; sys.argv = ['data_prep', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('data_prep', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert os.environ['CUDA_VISIBLE_DEVICES'] == ''\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", probe, *world.argv(world.folder / "d")], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["train", "valid", "test"] and len(lines) == 4
    assert lines[3].endswith(str(world.folder / "d"))


def test_the_bytes_depend_neither_on_processes_nor_on_the_hash_seed(world):
    made = []
    for seed, processes in ((1, 1), (2, 2)):
        out = world.folder / f"d{seed}"
        run = subprocess.run(
            [sys.executable, "-m", "data_prep", *world.argv(out, "--processes", processes)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert len([name for name in made[0] if ".tfrecord" in name]) == 3
    assert made[0] == made[1]
