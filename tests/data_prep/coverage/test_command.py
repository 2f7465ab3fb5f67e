"""The command line of coverage: datasets of both layouts hold the same, and wrong input is one sentence."""

import errno
import json
import os

import numpy as np
import pytest

from data_prep.coverage import aggregate
from jaxepi.data import open_dataset

LENGTHS = {"chr1": 40_000, "chr2": 12_000, "chr3": 9_000}
WINDOW, CROP, WIDTH = 1024, 128, 64


class Lab:
    """A genome, two BigWigs, peaks, a table, and regions."""

    def __init__(self, folder, tools):
        rng = np.random.default_rng(5)
        self.folder = folder
        self.codes = {chrom: tools.random_codes(rng, length) for chrom, length in LENGTHS.items()}
        self.fasta = tools.write_fasta(folder / "genome.fa", self.codes)
        for name in ("a", "b"):
            tracks = {}
            for chrom, length in LENGTHS.items():
                start = np.arange(0, length, 8)
                tracks[chrom] = (start, np.minimum(start + 8, length), rng.gamma(1, 5, len(start)).round(2))
            tools.write_bigwig(folder / f"{name}.bw", LENGTHS, tracks)
        (folder / "p.bed").write_text("chr1\t500\t700\nchr1\t20000\t21000\nchr2\t3000\t3300\nchr3\t4000\t4200\n")
        self.table(
            "0\ta\ta.bw\t384\t32\t0.5\tsum\tCAGE:a\t1", "1\tb\tb.bw\t384\t32\t0.5\tsum\tCAGE:a\t0",
            "2\tp\tp.bed\t\t\t1\tmean\tATAC:p\t2",
        )  # fmt: skip
        (folder / "blacklist.bed").write_text("chr1\t3000\t3500\n")
        (folder / "umap.bed").write_text("chr1\t2000\t2300\nchr2\t0\t6000\n")

    def table(self, *rows):
        """Writes the table of tracks."""
        header = "index\tidentifier\tfile\tclip\tclip_soft\tscale\tsum_stat\tdescription\tstrand_pair"
        (self.folder / "targets.txt").write_text("\n".join([header, *rows]) + "\n")

    def argv(self, out, *more):
        """A command line of this genome; later words win."""
        words = [
            "coverage",
            "--fasta",
            self.fasta,
            "--targets",
            self.folder / "targets.txt",
            "--out",
            self.folder / out,
        ]
        words += ["--window", WINDOW, "--crop", CROP, "--bin-width", WIDTH, "--test", "chr3", "--valid", "chr2"]
        return [str(word) for word in [*words, "--processes", 1, "--no-progress", *more]]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Shards of the original's layout are unpacked into a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def lab(tmp_path, tools):
    return Lab(tmp_path, tools)


def made(prepare, argv):
    status, out, err = prepare(argv)
    assert status == 0, err
    return out, err


def refused(prepare, argv):
    status, _, err = prepare(argv)
    assert status == 2 and err.count("\n") == 1, err
    return err


UMAP = ["--umap", "umap.bed", "--umap-tfr", "--umap-clip", 0.5, "--blacklist", "blacklist.bed"]


def test_both_layouts_hold_the_same_and_one_becomes_the_other(lab, prepare, monkeypatch):
    monkeypatch.chdir(lab.folder)
    out, _ = made(prepare, lab.argv("tfds", *UMAP))
    assert "train: " in out and "blacklisted" in out and "soft clipped" in out
    made(prepare, lab.argv("folder", *UMAP, "--layout", "original", "--per-file", 10))
    words = [str(lab.folder / "tfds"), "--out", str(lab.folder / "back"), "--per-file", "10", "--no-progress"]
    made(prepare, ["coverage-export", *words])
    assert "nothing to do" in made(prepare, ["coverage-export", *words])[0]
    assert files(lab.folder / "back") == files(lab.folder / "folder")

    first, second = (open_dataset(lab.folder / name, ("coverage",)) for name in ("tfds", "folder"))
    assert first.splits == second.splits and set(first.splits) == {"train", "valid", "test"}
    for name in ("window", "bins", "bin_width", "crop", "tracks", "track_descriptions", "strand_pair", "unmappable"):
        assert first.manifest[name] == second.manifest[name], name
    assert first.manifest["strand_pair"] == [1, 0, 2] and first.manifest["bins"] == (WINDOW - 2 * CROP) // WIDTH
    for split, count in first.splits.items():
        ours, theirs = first.split(split), second.split(split)
        for number in range(count):
            left, right = ours[number], theirs[number]
            assert left.keys() == right.keys() == {"key", "chrom", "start", "sequence", "target", "unmappable"}
            for name in left:
                np.testing.assert_array_equal(left[name], right[name], f"{split} {number} {name}")
            assert left["target"].dtype == np.float16 and left["unmappable"].dtype == np.uint8
            codes = lab.codes[left["chrom"]]
            inside = np.arange(left["start"], left["start"] + WINDOW)
            on = (inside >= 0) & (inside < len(codes))
            np.testing.assert_array_equal(left["sequence"][on], codes[inside[on]])
            assert (left["sequence"][~on] == 4).all()
    manifest = json.loads((lab.folder / "tfds" / "manifest.json").read_text())
    assert manifest["splits"]["valid"]["left_out_unmappable"] > 0 == manifest["splits"]["test"]["left_out_unmappable"]
    assert not list(lab.folder.glob("*.tmp-*")) and not list(lab.folder.glob("*.tracks*"))


def files(folder):
    """Contents of every file but the manifest."""
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"
    }


def test_the_same_bytes_for_any_number_of_processes_and_no_work_twice(lab, prepare, monkeypatch):
    argv = lab.argv("one", "--layout", "original", "--per-file", 8)
    made(prepare, argv)
    monkeypatch.setattr(aggregate, "_PIECES", 7)
    monkeypatch.setattr(aggregate, "_PIECE_VALUES", 1)
    monkeypatch.setattr(aggregate, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr("data_prep.coverage.original_folder._WORTH_PROCESSES", 0)
    made(prepare, lab.argv("two", "--layout", "original", "--per-file", 8, "--processes", 2))
    assert files(lab.folder / "one") == files(lab.folder / "two")
    assert "nothing to do" in made(prepare, argv)[0]
    assert "made with --snap 1, not 64" in refused(prepare, [*argv, "--snap", "64"])
    made(prepare, [*argv, "--snap", "64", "--overwrite"])
    starts = [int(line.split("\t")[1]) for line in (lab.folder / "one" / "sequences.bed").read_text().splitlines()]
    assert all(start % 64 == 0 for start in starts)


def test_windows_of_another_dataset_and_contigs_of_a_table(lab, prepare):
    small = ["--layout", "original"]
    made(prepare, lab.argv("first", *small))
    base = lab.argv("again", *small)
    for option in ("--test", "--valid"):
        del base[base.index(option) : base.index(option) + 2]
    made(prepare, [*base, "--sequences", str(lab.folder / "first" / "sequences.bed")])
    again = files(lab.folder / "again") | {}
    want = files(lab.folder / "first")
    assert {name: again[name] for name in want if name.name != "contigs.bed"} == {
        name: content for name, content in want.items() if name.name != "contigs.bed"
    }
    base[base.index("--out") + 1] = str(lab.folder / "contigs")
    made(prepare, [*base, "--splits", str(lab.folder / "first" / "contigs.bed")])
    assert (lab.folder / "contigs" / "contigs.bed").read_bytes() == (lab.folder / "first" / "contigs.bed").read_bytes()
    assert files(lab.folder / "contigs") == want


def test_folds_and_a_published_transform(lab, prepare):
    argv = lab.argv("folds", "--folds", 3, "--break", 2_000, "--layout", "original", "--transform", "cross2020")
    for option in ("--test", "--valid"):
        del argv[argv.index(option) : argv.index(option) + 2]
    made(prepare, argv)
    dataset = open_dataset(lab.folder / "folds")
    assert set(dataset.splits) == {"fold0", "fold1", "fold2"} and sum(dataset.splits.values()) > 20
    assert "seq_1hot" not in (lab.folder / "folds" / "statistics.json").read_text(), "one-hot, as of 2020"
    record = dataset.split("fold0")[0]
    codes = lab.codes[record["chrom"]][max(record["start"], 0) : record["start"] + WINDOW]
    np.testing.assert_array_equal(record["sequence"][-len(codes) :] if record["start"] < 0 else
                                  record["sequence"][: len(codes)], codes)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bin-width", 100], "--window 1024 without a --crop of 128 bp on both sides is 768 bp, no whole number"),
        (["--test", "0.1"], "--test is 0.1 and --valid is chr2"),
        (["--test", "chr7"], "--test names 'chr7'"),
        (["--test", "1", "--valid", "chr2"], "--test is 1 and --valid is chr2"),
        (["--umap-t", 0.5], "--umap-t does nothing without --umap"),
        (["--per-file", 3], "--per-file does nothing without --layout original"),
        (["--folds", 2], "--test does nothing beside --folds"),
        (["--stride-train", 100.5], "--stride-train is 100.5: a whole number"),
        (["--snap", 100], "--stride-train is 1024 bp, no multiple of --snap 100"),
        (["--snap", 512], "--snap is 512, which does not divide the 768 bp"),
        (["--break", 100], "--break is 100: contigs shorter than the 768 bp"),
        (["--window", 65536 + 256], "no contig is as long as the 65536 bp"),
        (["--blacklist", "none.bed"], "none.bed does not exist: --blacklist needs a file"),
        (["--sample", 0], "--sample is 0.0: a share above 0"),
        (["--layout", "original", "--beam-runner", "DirectRunner"], "--beam-runner does nothing beside --layout"),
        (["--transform", "original", "--missing", "zero"], "--missing does nothing beside --transform original"),
        (["--peaks"], "a.bw is no BED file, and --peaks takes windows from the peaks"),
        (["--chrom-prefix", "strip"], "--test names 'chr3' where the FASTA has '3'"),
    ],
)
def test_contradictions_are_one_sentence(lab, prepare, words, sentence):
    assert sentence in refused(prepare, lab.argv("x", *words))
    assert not (lab.folder / "x").exists()


def test_files_that_do_not_belong_together(lab, prepare, tools):
    start = np.arange(0, 800, 8)
    for lengths, sentence in [
        ({"1": 40_000, "2": 12_000}, "names '1' where"),
        ({"chr1": 39_000}, "chr1 has 39000 bases in"),
        ({"chr1": 40_000, "chrUn": 10_000}, "has chrUn, which"),
    ]:
        chrom = next(iter(lengths))
        tools.write_bigwig(lab.folder / "a.bw", lengths, {chrom: (start, start + 8, np.ones(len(start)))})
        assert sentence in refused(prepare, lab.argv("x"))
    _, err = made(prepare, lab.argv("x", "--extra-chroms", "ignore", "--layout", "original"))
    assert "all bins of 1 track(s) (a) are 0" in err, "chr2 and chr3 are not in the file"
    (lab.folder / "p.bed").write_text("chr1\t10\t50000\n")
    assert "chr1 has 50000 bases in" in refused(prepare, lab.argv("y", "--extra-chroms", "ignore"))
    raw = (lab.folder / "b.bw").read_bytes()
    (lab.folder / "b.bw").write_bytes(raw[: len(raw) // 2])
    assert "b.bw is truncated or not a BigWig file" in refused(prepare, lab.argv("y", "--extra-chroms", "ignore"))


def test_nothing_is_left_of_a_full_disk(lab, prepare, monkeypatch):
    real, calls = os.pwrite, []

    def full(file, data, place):
        calls.append(place)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data, place)

    monkeypatch.setattr(os, "pwrite", full)
    before = sorted(lab.folder.iterdir())
    assert "No space left on device" in refused(prepare, lab.argv("x", "--layout", "original"))
    assert [path for path in sorted(lab.folder.iterdir()) if path.suffix != ".fai"] == before


def test_names_that_come_twice_are_told(lab, prepare):
    lab.table("0\ta\ta.bw\t\t\t1\tmean\t\t0", "1\ta\tb.bw\t\t\t1\tmean\t\t1")
    _, err = made(prepare, lab.argv("x", "--layout", "original"))
    assert "names 1 track(s) (a) more than once" in err
    assert open_dataset(lab.folder / "x").manifest["tracks"] == ["a", "a#1"]


def test_conservation_and_labels_are_options_that_the_original_folder_has_no_place_for(lab, prepare, tools):
    start = np.arange(0, 12_000, 4)
    tools.write_bigwig(lab.folder / "c.bw", {"chr2": LENGTHS["chr2"]}, {"chr2": (start, start + 4, np.full(len(start), 0.25))})
    (lab.folder / "targets.txt").write_text("index\tidentifier\tfile\tsum_stat\tpeak\n0\ta\ta.bw\tmedian\tp.bed\n")
    words = ["--conservation", lab.folder / "c.bw"]
    _, err = made(prepare, lab.argv("tfds", *words))
    assert "has no chr1, chr3: bases there count as not conserved (0)" in err
    assert "in test, no base has a score of conservation" in err
    dataset = open_dataset(lab.folder / "tfds", ("coverage",))
    assert dataset.manifest["conservation"] == {"missing": 0.0} and dataset.manifest["labels"] is True
    for split, score in (("valid", 0.25), ("test", 0.0)):
        record = dataset.split(split)[0]
        on = (np.arange(WINDOW) + record["start"] >= 0) & (
            np.arange(WINDOW) + record["start"] < LENGTHS[record["chrom"]]
        )
        assert (record["conservation"][on] == score).all() and not record["conservation"][~on].any()
        first = record["start"] + CROP
        bins = np.arange(first, first + WINDOW - 2 * CROP).reshape(-1, WIDTH)
        peak = (3_000, 3_300) if split == "valid" else (4_000, 4_200)
        np.testing.assert_array_equal(record["label"][:, 0], ((bins >= peak[0]) & (bins < peak[1])).any(axis=1))
    original = ["--layout", "original"]
    assert "--layout original has no place for the scores of --conservation" in refused(
        prepare, lab.argv("x", *words, *original)
    )
    assert "has peaks in its column `peak`, and --layout original has no place for labels" in refused(
        prepare, lab.argv("x", *original)
    )
