"""Wrong input through the command line: one sentence, status 2, nothing left behind."""

import os
import shutil

import numpy as np
import pytest

from data_prep.sources import preflight


@pytest.fixture
def refused(world, prepare):
    """Runs a command line that must fail; returns its sentence."""

    def listing():
        # The index of a FASTA file is no part of the dataset.
        return [f for f in sorted(os.listdir(world.folder)) if not f.endswith(".fai")]

    def run(*more, argv=None):
        before = listing()
        status, _, err = prepare(argv or world.argv(world.folder / "out", *more))
        lines = err.strip().splitlines()
        assert status == 2 and len(lines) == 1 and lines[0].startswith("error: "), err
        assert listing() == before
        return lines[0]

    return run


def test_missing_and_broken_files(world, refused):
    out = world.folder / "out"
    gone = [str(w) for w in world.argv(out)]
    gone[gone.index(str(world.fasta))] = str(world.folder / "gone.fa")
    refusal = refused(argv=gone)
    assert "There is no FASTA file" in refusal and "gone.fa" in refusal
    assert "gone.bw does not exist" in refused("--bigwigs", world.folder / "gone.bw")
    raw = world.bigwigs[1].read_bytes()
    world.bigwigs[1].write_bytes(raw[: len(raw) // 2])
    assert "track1.bw is truncated or not a BigWig file" in refused()
    world.bigwigs[1].write_bytes(b"chr1\t0\t5\n" * 100)
    assert "track1.bw is truncated or not a BigWig file" in refused()


def test_other_names_of_chromosomes(world, tools, refused, prepare):
    plain = tools.write_fasta(world.folder / "plain.fa", {c.removeprefix("chr"): x for c, x in world.codes.items()})
    sentence = refused("--fasta", plain)
    assert (
        "track0.bw names 'chr1' where" in sentence
        and "plain.fa has '1'" in sentence
        and "--chrom-prefix add" in sentence
    )
    assert "--valid-chroms names 'chr10' where" in refused("--chrom-prefix", "strip")
    for out, mode, chroms in (
        ("added", "add", []),
        ("stripped", "strip", ["--valid-chroms", "10", "--test-chroms", "8", "9", "--drop-chroms", "none"]),
    ):
        argv = world.argv(world.folder / out, "--fasta", plain, "--chrom-prefix", mode, *map(str, chroms))
        status, _, err = prepare(argv)
        assert status == 0, err
    added, stripped = tools.load(world.folder / "added")["test"], tools.load(world.folder / "stripped")["test"]
    assert {r["chrom"] for r in added} == {"chr8", "chr9"} and {r["chrom"] for r in stripped} == {"8", "9"}
    for a, b in zip(added, stripped, strict=True):
        np.testing.assert_array_equal(a["value"], b["value"])


def test_other_lengths_and_other_chromosomes(world, tools, refused, prepare):
    one = {"chr1": (np.array([3]), np.array([5]), np.array([0.5]))}
    other = tools.write_bigwig(world.folder / "other.bw", world.lengths | {"chr1": 41_007}, one)
    sentence = refused("--bigwigs", other)
    assert "chr1 has 41007 bases" in sentence and "41000 in" in sentence and "same genome build" in sentence
    extra = tools.write_bigwig(world.folder / "extra.bw", world.lengths | {"chrUn": 500}, one)
    assert "extra.bw has chrUn, which" in refused("--bigwigs", extra)
    status, _, err = prepare(world.argv(world.folder / "ok", "--bigwigs", extra, "--extra-chroms", "ignore"))
    assert status == 0, err
    alien = tools.write_bigwig(world.folder / "alien.bw", {"chrI": 500}, {"chrI": one["chr1"]})
    assert "share no chromosome" in refused("--bigwigs", alien)


def test_builds_are_named():
    assert "hg19" in preflight._build_of({"chr1": 249250621}) and "hg38" in preflight._build_of({"1": 248956422})


def test_empty_splits(world, refused):
    assert "split 'train' is empty" in refused("--drop-chroms", "chr1", "chr2")
    sentence = refused("--test-chroms", "chr20")
    assert "--test-chroms names chr20" in sentence and "--test-chroms none" in sentence
    assert "split 'valid' is empty" in refused("--window", 16_001, "--windows", "tiles")
    assert "split 'test' is empty" in refused("--window", 14_501)
    assert "no chromosome or region is as long" in refused("--window", 50_000, "--windows", "random:5")
    bed = world.folder / "r.bed"
    bed.write_text("chr1\t0\t8000\ttrain\nchr1\t8000\t9000\tvalid\n")
    assert "split 'valid' is empty" in refused("--regions", bed)
    bed.write_text("")
    assert "holds no region" in refused("--regions", bed)


def test_empty_after_filtering(world, tools, refused):
    bare = tools.write_bigwig(
        world.folder / "bare.bw", world.lengths, {"chr1": (np.array([3]), np.array([5]), np.array([1.0]))}
    )
    assert "is empty: none of its candidates passes the filters" in refused("--bigwigs", bare, "--drop-empty")


def test_unknown_words(world, refused):
    assert "there is no split 'tain' (did you mean 'train'?)" in refused("--windows", "tain=tiles")
    assert "'randm:5' is no placement" in refused("--windows", "train=randm:5")
    assert "no placement" in refused("--windows", "random:0")
    assert "no file is given" in refused("--windows", "test=blocks")
    assert "--window is 0" in refused("--window", 0)
    assert "--processes is -1" in refused("--processes", -1)
    assert "--max-n-fraction is 0" in refused("--max-n-fraction", 0)
    assert "no command 'melodi' (did you mean 'melody'?)" in refused(argv=["melodi"])
    assert "--blacklist needs a file" in refused("--blacklist", world.folder / "none.bed")


def test_disk_space_is_asked_for_first(world, refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    assert "GB free and the dataset needs about" in refused()


def test_without_tensorflow(world, refused, monkeypatch):
    monkeypatch.setattr(
        "data_prep.build.quiet.importlib.util.find_spec", lambda name: None if name == "tensorflow" else 1
    )
    assert "tensorflow is not installed" in refused() and "pip install 'jaxepi[prep]'" in refused()


def test_chromosomes_that_no_track_covers_are_named(world, tools, prepare):
    first = np.array([3])
    some = {c: (first, first + 2, np.array([0.5])) for c in world.lengths if c != "chr2"}
    track = tools.write_bigwig(world.folder / "t.bw", {c: world.lengths[c] for c in some}, some)
    status, _, err = prepare(world.argv(world.folder / "out", "--bigwigs", track))
    assert status == 0 and "no track covers chr2" in err
    assert "no record at more than 50% of the CpG letters (t)" in err
