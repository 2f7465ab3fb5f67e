"""The command labels on small files: kinds, what is missing, the folder, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.labels.command import parser
from jaxepi.data.verify import verify_arrays

SIZES = {"chr1": 5000, "chr2": 3000}
BINS = ["--bin-width", "100", "--crop", "200"]  # windows of 1000 bp have 6 bins


@pytest.fixture
def world(tmp_path, tools):
    """One-base values at every fifth base, log2 in stretches, windows, and the identity as chains."""

    def write(name, value, sizes=SIZES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        spans = {chrom: np.arange(0, size, 5) for chrom, size in sizes.items()}
        tools.write_bigwig(
            tmp_path / name, sizes, {c: (s, s + 1, np.full(len(s), float(value))) for c, s in spans.items()}
        )

    for name, value in (("part.bw", 1), ("all.bw", 4), ("log.bw", 1)):
        write(name, value)
    chains = [f"chain 9 {c} {s} + 0 {s} {c} {s} + 0 {s} 1\n{s}\n\n" for c, s in SIZES.items()]
    (tmp_path / "same.chain").write_text("".join(chains))
    (tmp_path / "windows.bed").write_text("chr1 0 1000 train\nchr2 1000 2000 valid\nchr1 4000 5000 train\n")
    rows = ("name,kind,file,valid,scale,window_scale", "r,ratio,part.bw,all.bw,100,", "c,count,all.bw,,2,0.5")
    (tmp_path / "t.csv").write_text("\n".join([*rows, "l,log2_sum,log.bw,,,", ""]))
    return tmp_path, write


@pytest.fixture
def run(world, prepare):
    folder, _ = world

    def call(*more, out="out"):
        words = ["labels", "--windows", folder / "windows.bed", "--tracks", folder / "t.csv", "--out", folder / out]
        return prepare([str(word) for word in [*words, *BINS, "--processes", 1, "--no-progress", *more]])

    return call


def test_every_option_is_explained():
    for action in parser()._actions:
        assert action.help, action.option_strings


def test_values_of_each_kind(world, run):
    folder, _ = world
    status, out, err = run()
    assert status == 0 and "3 windows of 6 bins and 3 tracks" in out, err
    bins, window = np.load(folder / "out" / "bins.npy"), np.load(folder / "out" / "window.npy")
    assert bins.shape == (3, 6, 3) and window.shape == (3, 3) and bins.dtype == window.dtype == np.float32
    log = 20 * 2 + 80 * 0.25  # 20 bases of 2^1, and 80 without a record at 2^-2
    np.testing.assert_allclose(bins, np.broadcast_to([25, 160, log], bins.shape))
    np.testing.assert_allclose(window, np.broadcast_to([25, 0.5 * 6 * 80, log], window.shape))
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert (manifest["window"], manifest["bins"], manifest["bin_width"], manifest["crop"]) == (1000, 6, 100, 200)
    assert manifest["tracks"] == ["r", "c", "l"] and manifest["splits"] == {
        "train": {"records": 2}, "valid": {"records": 1},
    }  # fmt: skip
    assert [finding.state for finding in verify_arrays(folder / "out")] == ["whole"] * 4
    before = (folder / "out" / "manifest.json").read_bytes()
    assert "nothing to do" in run()[1]
    status, _, err = run("--gap-log2", 0)
    assert status == 2 and "made with --gap-log2 -2.0, not 0.0" in err
    assert run("--gap-log2", 0, "--overwrite", "--processes", 2)[0] == 0
    assert (folder / "out" / "manifest.json").read_bytes() != before
    np.testing.assert_allclose(np.load(folder / "out" / "bins.npy")[..., 2], 20 * 2 + 80)


def test_bins_without_a_call_have_no_ratio(world, run, tools):
    folder, _ = world
    start = np.array([300, 420, 421])
    for name, value in (("part.bw", 1.0), ("all.bw", 2.0)):
        tools.write_bigwig(folder / name, SIZES, dict.fromkeys(SIZES, (start, start + 1, np.full(3, value))))
    status, out, _ = run()
    bins, window = np.load(folder / "out" / "bins.npy"), np.load(folder / "out" / "window.npy")
    assert status == 0 and "r: 88.9% of the bins have no label" in out
    np.testing.assert_array_equal(bins[0, :, 0], [np.nan, 50, 50, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(bins[0, :, 1], [0, 4, 8, 0, 0, 0])
    assert window[0, 0] == 50 and np.isnan(window[1, 0]) and window[1, 1] == 0
    tools.write_bigwig(
        folder / "all.bw", SIZES, {"chr1": (start, start + 1, np.full(3, 0.5)), "chr2": (start[:0],) * 3}
    )
    status, _, err = run(out="more")
    assert status == 0 and "warning: r has 2 bins in which the part is more than the whole" in err


def test_tracks_of_another_assembly(world, run):
    """Through chains that map everything onto itself the labels are those without chains."""
    folder, _ = world
    assert run(out="plain")[0] == 0
    table = (folder / "t.csv").read_text().splitlines()
    (folder / "t.csv").write_text("\n".join([table[0] + ",lifted", *(line + ",yes" for line in table[1:])]))
    for mode in ("bins", "parity"):
        status, _, err = run("--chains", folder / "same.chain", "--lift", mode, out=mode)
        assert status == 0, err
    np.testing.assert_allclose(np.load(folder / "bins" / "bins.npy"), np.load(folder / "plain" / "bins.npy"))
    np.testing.assert_allclose(np.load(folder / "bins" / "window.npy"), np.load(folder / "plain" / "window.npy"))
    rows = (folder / "bins" / "regions.tsv").read_text().splitlines()
    assert rows[0].split("\t")[-1] == "lifted" and [row.split("\t")[-1] for row in rows[1:]] == ["whole"] * 3
    # in parity the first contig of the file is read, whatever the chromosome
    np.testing.assert_allclose(np.load(folder / "parity" / "bins.npy")[:2], np.load(folder / "plain" / "bins.npy")[:2])


def test_what_is_refused(world, run, tools):
    folder, write = world

    def refused(sentence, *more):
        status, _, err = run(*more)
        assert status == 2 and sentence in err and err.count("error: ") == 1, err
        assert not (folder / "out").exists() and not list(folder.glob("out.tmp*"))

    refused("which are no whole number of bins of 100 bp: change --crop or --bin-width", "--crop", 230)
    refused("--lift does nothing without --chains", "--lift", "parity")
    refused("--chains does nothing, as no track is `lifted`", "--chains", folder / "same.chain")
    refused("--gap-log2 is 100.0: a logarithm", "--gap-log2", 100)
    refused("--tracks cs282a needs --folder", "--tracks", "cs282a")
    refused("part.bw does not exist: a BigWig file of track 'r'", "--folder", folder / "nowhere")
    write("log.bw", 200)
    refused("log.bw has a value at chr1:200-800 that does not fit: a logarithm of base 2 was expected")
    write("log.bw", 1)
    write("part.bw", -1)
    refused("part.bw has a value at chr1:200-800 that does not fit: counts from 0 were expected for a track of kind r")
    write("part.bw", 1, {"chr1": 5000})
    refused("part.bw has no chr2, where windows of")
    write("part.bw", 1, {"chr1": 4500, "chr2": 3000})
    refused("has windows up to chr1:4800, but chr1 has 4500 bases in")
    write("part.bw", 1, {"1": 5000, "2": 3000})
    refused("names 'chr1' where")
    (folder / "windows.bed").write_text("chr1 0 1000 train\nchr1 1000 1900 train\n")
    refused("windows.bed line 2 has 900 bp where the first has 1000")
    (folder / "windows.bed").write_text("# nothing\n")
    refused("windows.bed holds no window")


def test_chains_that_do_not_fit(world, run):
    folder, _ = world
    table = (folder / "t.csv").read_text().splitlines()
    (folder / "t.csv").write_text("\n".join([table[0] + ",lifted", *(line + ",yes" for line in table[1:])]))

    def refused(chain, sentence):
        (folder / "x.chain").write_text(chain)
        status, _, err = run("--chains", folder / "x.chain")
        assert status == 2 and sentence in err, err

    assert "is of another assembly (`lifted`): give the chain files" in run()[2]
    refused("chain 9 1 5000 + 0 5000 1 5000 + 0 5000 1\n5000\n", "names 'chr1' where")
    refused(
        "chain 9 chrZ 50 + 0 50 chr1 50 + 0 50 1\n50\n", "x.chain has no chain from chr1, chr2, where the windows lie"
    )
    refused("chain 9 chr1 5000 + 0 50 chr1 60 + 0 50 1\n50\n", "chr1 has 5000 bases in")
    refused("chain 9 chr1 5000 + 0 50\n", "x.chain is damaged or no chain file")


def test_the_windows_of_the_paper():
    """The real sequences.bed has the counts that the original's notebooks name, in blocks."""
    path = Path(__file__).parents[4] / "shared" / "data" / "cs282a" / "sequences.bed.gz"
    if not path.exists():
        pytest.skip("sequences.bed is not here")
    from jaxepi.genome.window_table import read_bed_windows

    regions = read_bed_windows(path)
    split = np.array(regions.split)
    assert regions.count == 38171 and set(regions.end - regions.start) == {131_072}
    assert [(split == name).sum() for name in ("train", "valid", "test")] == [34021, 2213, 1937]
    assert (split[:34021] == "train").all() and (split[36234:] == "test").all()
