"""`data_prep epiformer` as a user calls it: what the dataset holds, and one sentence for each mistake."""

import numpy as np
import pytest

from data_prep.build.options import parse_options
from data_prep.coverage.targets import read_targets
from data_prep.epiformer.command import check_options, lay, make_recipe
from data_prep.epiformer.options import parser
from data_prep.sources.genome import Genome
from jaxepi.data import open_dataset
from jaxepi.data.verify import verify_dataset

LENGTHS = {"chr1": 9_000, "chr2": 4_500, "chrUn_1": 2_100}
WINDOW, BIN = 1_000, 100
HEADER = "index\tidentifier\tfile\tclip\tsum_stat\tdescription\tpeak\tscale"


class Lab:
    """A genome, a track with gaps, conservation, peaks and a table."""

    def __init__(self, folder, tools):
        rng = np.random.default_rng(4)
        self.folder, self.tools = folder, tools
        self.codes = {c: rng.integers(0, 4, length).astype(np.uint8) for c, length in LENGTHS.items()}
        self.codes["chr1"][3_500] = 4
        self.fasta = tools.write_fasta(folder / "genome.fa", self.codes)
        self.bigwig("a.bw", 8, lambda count: rng.gamma(1, 5, count).round(2), first=304)
        self.bigwig("cons.bw", 2, lambda count: rng.uniform(0.01, 1, count), first=10)
        (folder / "a.bed").write_text("chr1\t950\t1000\nchr1\t4100\t4350\nchr2\t0\t4500\n")
        self.table("0\tx\ta.bw\t8\tmean\tATAC:x\ta.bed\t2", "1\ty\ta.bw\t\tmedian\tATAC:y\t\t")

    def table(self, *rows):
        (self.folder / "targets.txt").write_text("\n".join([HEADER, *rows]) + "\n")

    def bigwig(self, name, step, values, first=0, lengths=LENGTHS):
        """A value every `step` bases from `first` on."""
        tracks = {}
        for chrom, length in lengths.items():
            start = np.arange(first, length - step, step)
            tracks[chrom] = start, start + step, values(len(start))
        self.tools.write_bigwig(self.folder / name, lengths, tracks)

    def argv(self, out, *more):
        """A command line of this genome; later words win."""
        words = ["epiformer", "--fasta", self.fasta, "--targets", self.folder / "targets.txt", "--out",
                 self.folder / out, "--seqlen", WINDOW, "--binsize", BIN, "--valid", "chr2", "--test", "none",
                 "--conservation", self.folder / "cons.bw"]  # fmt: skip
        return [str(word) for word in [*words, "--processes", 1, "--no-progress", *more]]

    def records(self, *more):
        """Records of every split, without writing them."""
        argv = self.argv("x", *more)[1:]
        if {"--split", "--regions"} & set(more):
            del argv[argv.index("--valid") : argv.index("--valid") + 4]
        args, typed = parse_options(parser(), argv)
        check_options(args, typed)
        genome, table = Genome(args.fasta), read_targets(self.folder / "targets.txt")
        recipe = make_recipe(args, genome, table, *lay(args, genome), self.folder)
        blocks = recipe.blocks()
        return {split: [r for b in own for _, r in recipe.make_block(b).records] for split, own in blocks.items()}


@pytest.fixture
def lab(tmp_path, tools):
    return Lab(tmp_path, tools)


def refused(prepare, argv):
    status, _, err = prepare(argv)
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert status == 2 and len(lines) == 1, err
    return lines[0]


def test_a_dataset_with_conservation_and_labels(lab, prepare):
    status, out, err = prepare(lab.argv("made"))
    assert status == 0, err
    assert "bases without conservation" in out and "labelled in the mean track" in out
    assert "left out: 1 windows with an N" in out
    assert "names no peaks for 1 track(s) (y): none of their bins is labelled" in err
    dataset = open_dataset(lab.folder / "made", ("coverage",))
    manifest = dataset.manifest
    assert dataset.splits == {"train": 10, "valid": 4} and manifest["left_out"]["n"] == 1
    assert (manifest["window"], manifest["bins"], manifest["bin_width"], manifest["crop"]) == (WINDOW, 10, BIN, 0)
    assert manifest["conservation"] == {"missing": 0.0} and manifest["labels"] is True and manifest["missing"] == "zero"
    assert {entry["role"] for entry in manifest["inputs"]} >= {"conservation", "peaks x", "track x"}
    train = dataset.split("train")
    assert [train[i]["start"] // WINDOW for i in range(10)] == [0, 1, 2, 4, 5, 6, 7, 8, 0, 1], "3 has an N"
    first = train[0]
    assert first["conservation"].dtype == np.float16 and first["conservation"].shape == (WINDOW,)
    assert (first["conservation"][:10] == 0).all() and first["conservation"][10:].all()
    np.testing.assert_array_equal(first["sequence"], lab.codes["chr1"][:WINDOW])
    np.testing.assert_array_equal(first["label"], np.stack([[0] * 9 + [1], [0] * 10], axis=1))
    assert manifest["splits"]["train"]["bins_labelled"] == [4, 0]
    assert manifest["splits"]["train"]["conservation_missing"] > 10 > manifest["splits"]["train"]["n_bases"]
    assert {finding.state for finding in verify_dataset(dataset.path)} == {"whole"}
    told = next(finding.about for finding in verify_dataset(dataset.path) if finding.place.name == "manifest.json")
    assert "a record holds chrom, conservation, key, label, sequence, start, target" in told

    assert "nothing to do" in prepare(lab.argv("made"))[1]
    assert "--missing zero, not nan" in refused(prepare, lab.argv("made", "--missing", "nan"))
    lab.bigwig("cons.bw", 2, np.ones)
    assert "another content of" in refused(prepare, lab.argv("made")), "the fingerprint covers conservation"
    words = ["coverage-export", str(dataset.path), "--out", str(lab.folder / "folder")]
    assert "holds conservation and labels, for which the original Basenji's folder has no place" in refused(
        prepare, words
    )


def test_what_is_stored_when_bases_have_no_record(lab):
    """As the original: a bin with such a base is NaN; else they are 0. Scale and clip, then mean and median."""
    kept, filled = lab.records("--missing", "nan"), lab.records()
    for split in kept:
        for one, other in zip(kept[split], filled[split], strict=True):
            partial = 3 if one["start"] == 0 else 0  # records begin at 304
            nan = np.isnan(one["target"])
            last = [9] if np.isnan(one["target"][9]).any() else []  # of a chromosome's end
            assert np.flatnonzero(nan[:, 0]).tolist() == [*range(partial + (partial > 0)), *last]
            assert (one["target"][~nan] == other["target"][~nan]).all() and np.isfinite(other["target"]).all()
            assert other["target"][:, 0].max() <= 8 < other["target"][:, 1].max() + 8
    assert (filled["train"][0]["target"][:3] == 0).all()
    lab.table("0\tx\ta.bw\t\tmean\tx\t\t2", "1\ty\ta.bw\t\tsum\ty\t\t2", "2\tz\ta.bw\t\tmedian\tz\t\t2")
    doubled, repeated = lab.records()["valid"], lab.records("--scale", "repeat")["valid"]
    for one, other in zip(doubled, repeated, strict=True):
        np.testing.assert_array_equal(one["target"][:, 1], other["target"][:, 1])
        np.testing.assert_allclose(one["target"][:, ::2], 2 * other["target"][:, ::2], rtol=1e-3)


def test_windows_of_a_file_of_the_first_chunks_and_by_regions(lab, capsys):
    (lab.folder / "some.bed").write_text("chr2\t100\t1100\nchr1\t37\t1037\nchr1\t50\t2000\n")
    given = lab.records("--bed", lab.folder / "some.bed")
    assert {split: [r["key"] for r in own] for split, own in given.items()} == {
        "train": ["chr1:37-1037"], "valid": ["chr2:100-1100"],
    }  # fmt: skip
    first = lab.records("--split", "random", "--nchunk", 5, "--chunk-files", 2, "--n-test", "line")
    assert {split: len(own) for split, own in first.items()} == {"train": 8, "valid": 2}
    assert not {r["chrom"] for own in first.values() for r in own} & {"chrUn_1"}
    every = lab.records("--split", "random")
    assert {r["chrom"] for own in every.values() for r in own} == set(LENGTHS) and len(every["train"]) == 11
    (lab.folder / "regions.bed").write_text("chr1\t0\t2500\ttrain\nchr1\t6000\t9000\ttest\n")
    parts = lab.records("--regions", lab.folder / "regions.bed")
    assert {split: [r["start"] for r in own] for split, own in parts.items()} == {
        "train": [0, 1000], "test": [6000, 7000, 8000],
    }  # fmt: skip
    (lab.folder / "sizes").write_text("chr2\t4500\nchr1\t9000\n")
    (lab.folder / "black.bed").write_text("chr2\t1999\t2000\nchr1\t3000\t3001\n")
    left = lab.records(
        "--gsize", lab.folder / "sizes", "--blacklist", lab.folder / "black.bed", "--drop-chroms", "chrUn_1"
    )
    assert [r["start"] for r in left["valid"]] == [0, 2000, 3000]
    assert [r["start"] // 1000 for r in left["train"]] == [0, 1, 2, 4, 5, 6, 7, 8]
    capsys.readouterr()


def test_files_that_do_not_belong_together(lab, prepare, tools):
    (lab.folder / "far.bed").write_text("chr2\t4000\t5000\n")
    (lab.folder / "unknown.bed").write_text("chr1\t0\t1000\nchr7\t0\t1000\n")
    (lab.folder / "twice.bed").write_text("chr1\t0\t1000\nchr1\t0\t1000\n")
    (lab.folder / "short.bed").write_text("chr1\t0\t500\n")
    (lab.folder / "sizes").write_text("chr1\t9001\n")
    for words, sentence in [
        (["--bed", "far.bed"], "says chr2:4000-5000, but chr2 is 4500 bases long"),
        (["--bed", "unknown.bed"], "line 2 says chr7:0-1000, but"),
        (["--bed", "twice.bed"], "line 2 lists chr1:0-1000 once more"),
        (["--bed", "short.bed"], "has no region of --seqlen 1000 bp, its first one is 500 bp long"),
        (["--gsize", "sizes"], "gives chr1 9001 bases, but in"),
        (["--valid", "chr9"], "--valid-chroms names chr9, but"),
        (["--drop-chroms", "chr9"], "--drop-chroms names chr9"),
        (["--blacklist", "a.bed", "--drop-chroms", "chr1"], "split 'valid' is empty: none of the 2 windows"),
    ]:
        words = [str(lab.folder / word) if (lab.folder / word).exists() else word for word in words]
        assert sentence in refused(prepare, lab.argv("x", *words)), words
    for lengths, sentence in [
        (LENGTHS | {"chr2": 4_000}, "chr2 has 4000 bases in"),
        ({"1": 9_000}, "names '1' where"),
        (LENGTHS | {"chr5": 900}, "has chr5, which"),
    ]:
        lab.bigwig("cons.bw", 2, np.ones, lengths=lengths)
        assert sentence in refused(prepare, lab.argv("x"))
    lab.bigwig("cons.bw", 2, lambda count: np.full(count, np.inf))
    assert "cons.bw has the score inf at chr1:0-1" in refused(prepare, lab.argv("x"))
    raw = (lab.folder / "cons.bw").read_bytes()
    (lab.folder / "cons.bw").write_bytes(raw[: len(raw) // 2])
    assert "cons.bw is truncated or not a BigWig file" in refused(prepare, lab.argv("x"))
    lab.bigwig("cons.bw", 2, np.ones)
    for row, sentence in [
        ("0\tx\tno.bw\t8\tmean\tx\t\t", "no.bw does not exist: "),
        ("0\tx\ta.bw\t8\tmean\tx\tno.bed\t", "no.bed does not exist: "),
        ("0\tx\ta.bw\t8\t\tx\t\t", "track 'x' has no sum_stat"),
        ("0\tx\ta.bw\t8\tmaen\tx\t\t", "has the sum_stat 'maen'"),
        ("0\tx\ta.bw\t8\tmean\tx\tfar.bed\t", "says chr2:4000-5000, but chr2 is 4500 bases long"),
    ]:
        lab.table(row)
        told = refused(prepare, lab.argv("x"))
        assert sentence in told and (".b" not in sentence[:8] or "line 2 names it as the" in told)
    lab.table("0\tx\ta.bw\t8\tmean\tx\t\t1.5")
    assert "has the scale 1.5, and --scale repeat" in refused(prepare, lab.argv("x", "--scale", "repeat"))
    assert not (lab.folder / "x").exists() and not list(lab.folder.glob("*.tmp-*")) + list(lab.folder.glob("x.*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--binsize", 7], "--window (--seqlen) 1000 is no whole number of bins"),
        (["--seqlen", 0], "--window is 0: a number of at least 1"),
        (["--nchunk", 3], "--nchunk does nothing without --chunk-files"),
        (["--chunk-order", "text"], "--chunk-order does nothing without --chunks"),
        (["--chunks", "x.0.h5"], "--fasta does nothing beside --chunks"),
        (["--split", "random"], "--valid-chroms does nothing beside --split random"),
        (["--seed", 3], "--seed does nothing without --split random"),
        (["--regions", "x.bed"], "--valid-chroms does nothing beside --regions"),
        (["--bed", "x.bed", "--gsize", "x"], "--gsize does nothing beside --bed"),
        (["--bed", "no.bed"], "no.bed does not exist: --bed needs a file"),
        (["--seqlen", 100_000], "no chromosome is as long as --seqlen 100000 bp"),
    ],
)
def test_contradictions_are_one_sentence(lab, prepare, words, sentence):
    assert sentence in refused(prepare, lab.argv("x", *words))


def test_scores_outside_0_to_1_and_chromosomes_without_are_told(lab, capsys):
    lab.bigwig("cons.bw", 2, lambda count: np.full(count, -2.5), lengths={"chr1": 9_000})
    records = lab.records()
    assert "has no chr2, chrUn_1: bases there count as not conserved (0)" in capsys.readouterr().err
    assert records["train"][0]["conservation"][0] == np.float16(-2.5) and not records["valid"][0]["conservation"].any()
