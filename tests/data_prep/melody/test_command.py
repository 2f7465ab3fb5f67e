"""Each option of the command line on real files, and real methylation sets where they are at hand."""

import json
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from data_prep.melody.command import parser
from data_prep.sources.genome import Genome

REAL = Path(__file__).parents[4] / "shared" / "data" / "real"


@pytest.fixture
def made(world, tools, prepare):
    """Runs the command line with more options: (records per split, manifest)."""

    def run(*more, name="d"):
        status, _, err = prepare(world.argv(world.folder / name, *more))
        assert status == 0, err
        return tools.load(world.folder / name), json.loads((world.folder / name / "manifest.json").read_text())

    return run


def keys(records):
    return [record["key"] for record in records]


def test_every_option_is_explained():
    for action in parser()._actions:
        assert action.help, action.option_strings


def test_paper_splits_and_tiles(made):
    records, _ = made("--stride", 2000)
    assert {s: {r["chrom"] for r in own} for s, own in records.items()} == {
        "train": {"chr1", "chr2"},
        "valid": {"chr10"},
        "test": {"chr8", "chr9"},
    }
    assert keys(records["valid"]) == [f"chr10:{s}-{s + 4000}" for s in range(0, 12_001, 2000)]


def test_splits_can_be_left_out(made):
    records, _ = made("--valid-chroms", "chr2", "--test-chroms", "none", "--drop-chroms", "chr8", "chr9")
    assert {s: {r["chrom"] for r in own} for s, own in records.items()} == {
        "train": {"chr1", "chr10"},
        "valid": {"chr2"},
    }


def test_random_windows_follow_the_seed(made):
    how = ("--windows", "train=random:30", "valid=tiles", "test=random:5")
    first, _ = made(*how, name="a")
    again, _ = made(*how, "--seed", 5, name="b")
    other, _ = made(*how, "--seed", 6, name="c")
    assert len(first["train"]) == 30 and len(first["test"]) == 5 and len(first["valid"]) == 4
    assert keys(first["train"]) == keys(again["train"]) != keys(other["train"])


def test_regions(made, world):
    bed = world.folder / "r.bed"
    bed.write_text("chr2\t1000\t9500\ttrain\nchr1\t10\t5000\ttrain\nchr1\t20000\t24000\theld\n")
    records, manifest = made("--regions", bed)
    assert keys(records["train"]) == ["chr1:10-4010", "chr2:1000-5000", "chr2:5000-9000"]
    assert keys(records["held"]) == ["chr1:20000-24000"]
    assert manifest["arguments"]["valid_chroms"] is None


def test_blocks(made, world):
    table = world.folder / "b.csv"
    table.write_text(
        "startCpG,endCpG,chr_hg38,start_hg38,end_hg38\n1,2,chr8,5000,5101\n1,2,chr8,100,200\n1,2,chr1,9000,9002\n"
    )
    records, _ = made("--blocks", table, "--windows", "test=blocks")
    assert keys(records["test"]) == ["chr8:3050-7050"]  # the second runs off the chromosome, the third is in train
    assert len(records["valid"]) == 4


def test_blacklist_drops_or_marks(made, world):
    bed = world.folder / "x.bed"
    bed.write_text("chr10\t3999\t4001\nchr1\t0\t20000\n")
    dropped, _ = made("--blacklist", bed, "--windows", "train=random:20", "valid=tiles", name="a")
    assert keys(dropped["valid"]) == ["chr10:8000-12000", "chr10:12000-16000"]
    assert len(dropped["train"]) == 20
    assert all(r["chrom"] != "chr1" or r["start"] >= 20_000 for r in dropped["train"])
    marked, _ = made("--blacklist", bed, "--blacklist-treatment", "zero", name="b")
    assert [int(r["blanked"]) for r in marked["valid"]] == [1, 1, 0, 0]
    plain, _ = made(name="c")
    for a, b in zip(marked["valid"], plain["valid"], strict=True):  # the real sequence and targets stay
        np.testing.assert_array_equal(a["sequence"], b["sequence"])
        np.testing.assert_array_equal(a["value"], b["value"])
        assert b["blanked"] == 0


def test_tracks_by_table(made, world):
    table = world.folder / "t.csv"
    table.write_text("index,bigwig_file,track_name\n0,track2,liver\n1,track0.bw,blood\n")
    words = [w for w in world.argv(world.folder / "d") if w not in ["--bigwigs", *map(str, world.bigwigs)]]
    world.argv = lambda out, *more: [*words, *map(str, more)]
    records, manifest = made("--bigwigs-dir", world.folder, "--tracks", table)
    assert manifest["tracks"] == ["liver", "blood"]
    record = records["train"][1]
    for k, i in enumerate((2, 0)):
        expected = pyBigWig.open(str(world.bigwigs[i])).values(record["chrom"], 4000, 8000, numpy=True)
        two = record["width"] == 2
        np.testing.assert_array_equal(record["value"][two, k], expected[record["position"][two]])


@pytest.mark.parametrize(
    ("folder", "fasta", "tracks", "regions"),
    [
        ("hg19_chr22_31_35.5Mb", "chr22_31_35.5Mb.fa.gz", ["IMR90_pooled.meth.bw"], "chr22 32390000 32490000"),
        (
            "hg19_chr20_11Mb",
            "chr20_11Mb.fa.gz",
            ["lung_normal.meth.bw", "lung_tumour.meth.bw"],
            "chr20 9700000 9800000",
        ),
        ("hg38_chr1_1Mb", "chr1_1Mb.fa.gz", ["ENCSR156JXJ.meth.bw"], "chr1 800000 900000"),
    ],
)
def test_real_sets(folder, fasta, tracks, regions, tools, prepare, tmp_path):
    source = REAL / folder
    if not source.exists():
        pytest.skip("the real data sets are not beside the checkout")
    bed = tmp_path / "r.bed"
    bed.write_text(f"{regions} train\n")
    paths = [source / track for track in tracks]
    words = [
        "melody",
        "--fasta",
        source / fasta,
        "--bigwigs",
        *paths,
        "--regions",
        bed,
        "--processes",
        1,
        "--no-progress",
    ]
    for dyads in ("as-recorded", "both"):
        status, _, err = prepare([str(w) for w in [*words, "--dyads", dyads, "--out", tmp_path / dyads]])
        assert status == 0, err
    genome, files = Genome(source / fasta), [pyBigWig.open(str(path)) for path in paths]
    chrom, low, high = regions.split()
    whole = genome.codes(chrom, 0, genome.lengths[chrom])
    recorded, spread = (tools.load(tmp_path / dyads)["train"] for dyads in ("as-recorded", "both"))
    assert len(recorded) == len(spread) == 10
    values = 0
    for a, b in zip(recorded, spread, strict=True):
        start, end = int(a["start"]), int(a["start"]) + 10_000
        expected = np.stack([f.values(chrom, start, end, numpy=True) for f in files], axis=1)
        np.testing.assert_array_equal(tools.expand(a, 10_000), expected)
        np.testing.assert_array_equal(a["sequence"], whole[start:end])
        values += np.isfinite(expected).sum()
        # These BigWigs hold one base a CpG, the C: with `both` the G has the value too.
        dense = tools.expand(b, 10_000)
        c = np.flatnonzero((whole[start : end - 1] == 1) & (whole[start + 1 : end] == 2))
        np.testing.assert_array_equal(dense[c], expected[c])
        np.testing.assert_array_equal(dense[c + 1], expected[c])
    assert values > 500
    counts = json.loads((tmp_path / "both" / "manifest.json").read_text())["splits"]["train"]
    assert counts["values_outside_cpg"] <= [0.01 * values] * len(tracks)


def one_value(world, tools, value, name="odd.bw", chrom="chr8", letter=0):
    """A track whose only record is this value at a letter of the 30th CpG of a chromosome."""
    codes = world.codes[chrom]
    at = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))[30:31] + letter
    lengths = {chrom: len(codes) for chrom, codes in world.codes.items()}
    return at[0], tools.write_bigwig(world.folder / name, lengths, {chrom: (at, at + 1, np.array([value]))})


@pytest.mark.parametrize("dyads", ["both", "as-recorded"])
@pytest.mark.parametrize(
    ("value", "scale", "remedy"),
    [
        (1.2, "fraction", "are these percentages?"),
        (87.5, "fraction", "are these percentages?"),
        (-0.5, "fraction", "mend the track"),
        (np.inf, "fraction", "mend the track"),
        (-np.inf, "percent", "mend the track"),
        (100.5, "percent", "mend the track"),
        (-0.5, "percent", "mend the track"),
    ],
)
def test_values_that_are_no_methylation_are_refused(world, tools, prepare, value, scale, remedy, dyads):
    at, track = one_value(world, tools, value, letter=1)
    argv = world.argv(world.folder / "d", "--bigwigs", *world.bigwigs, track, "--scale", scale, "--dyads", dyads)
    status, _, err = prepare(argv)
    assert status == 2 and not (world.folder / "d").exists()
    assert f"odd.bw has the value {value:g} at chr8:{at}-{at + 1}, where 0 to" in err and remedy in err


def test_percentages_become_fractions_and_no_coverage_stays(world, tools, made):
    lengths = {chrom: len(codes) for chrom, codes in world.codes.items()}
    at = np.arange(5, 10_000, 100)
    value = np.where(np.arange(len(at)) % 10 == 0, -1.0, np.arange(len(at)) % 101)
    plain = tools.write_bigwig(
        world.folder / "plain.bw",
        lengths,
        {c: (at, at + 1, np.where(value < 0, -1, np.float32(value) / np.float32(100))) for c in lengths},
    )
    hundred = tools.write_bigwig(world.folder / "hundred.bw", lengths, {c: (at, at + 1, value) for c in lengths})
    fractions, first = made("--bigwigs", plain, name="a")
    percent, second = made("--bigwigs", hundred, "--scale", "percent", name="b")
    for split in fractions:
        for a, b in zip(fractions[split], percent[split], strict=True):
            np.testing.assert_array_equal(a["value"], b["value"])
    assert first["arguments"]["scale"] is None and second["arguments"]["scale"] == "percent"
    assert {-1.0, 0.25} <= set(np.unique(percent["train"][0]["value"]).tolist())


def test_what_gets_no_window_is_counted_and_told(world, made, prepare):
    bed, blocks = world.folder / "x.bed", world.folder / "b.bed"
    bed.write_text("chr10\t3999\t4001\nchrUn\t0\t20000\n")
    blocks.write_text("chr8\t5000\t5101\nchr8\t100\t200\nchrUn\t5\t9\nchrUn\t7\t9\n")
    argv = world.argv(world.folder / "d", "--blacklist", bed, "--blocks", blocks, "--windows", "test=blocks")
    status, out, err = prepare(argv)
    assert status == 0
    assert "1 regions of" in err and "2 blocks of" in err and "1 blocks of test are too near a chromosome end" in err
    splits = json.loads((world.folder / "d" / "manifest.json").read_text())["splits"]
    assert splits["test"]["blocks_at_ends"] == 1 and splits["test"]["blocks_elsewhere"] == 2
    assert splits["valid"]["left_out_blacklist"] == 2 and splits["train"]["left_out_blacklist"] == 0
    assert "valid: 2 windows (2 left out)" in out


@pytest.mark.parametrize("option", ["--blacklist", "--blocks", "--regions"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("8\t5\t90\ttest\n", "names '8' where the FASTA has 'chr8'"),
        ("chr1\t5\t90\ttrain\nchr8\t5\t15000\ttest\n", "but chr8 is 14500 bases long"),
        ("chrQ\t5\t90\ttest\n", "the FASTA"),
        ("# nothing\n", "holds no region"),
    ],
)
def test_regions_of_another_genome_are_refused(world, prepare, option, text, sentence):
    bed = world.folder / "x.bed"
    bed.write_text(text)
    more = ["--windows", "test=blocks"] if option == "--blocks" else []
    status, _, err = prepare(world.argv(world.folder / "d", option, bed, *more))
    assert status == 2 and "x.bed" in err and sentence in err and len(err.splitlines()) == 1


def test_regions_of_two_splits_must_not_overlap(world, prepare):
    bed = world.folder / "x.bed"
    bed.write_text("chr1\t0\t20000\ttrain\nchr1\t100\t200\ttrain\nchr1\t19999\t30000\ttest\n")
    status, _, err = prepare(world.argv(world.folder / "d", "--regions", bed))
    assert status == 2
    assert "chr1:19999-30000 of split 'test' overlaps chr1:0-20000 of split 'train': keep splits apart" in err
