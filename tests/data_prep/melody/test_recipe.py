"""Records against the golden arrays of the original's reader, and against plain per-base reading of random BigWigs."""

import json
import pickle

import numpy as np
import pyBigWig
import pytest

from data_prep.melody.recipe import MelodyRecipe, Sites, longest_read, read_sites
from data_prep.sources import regions
from data_prep.sources.genome import Genome, ambiguity_note
from data_prep.sources.tracks import TrackFile, TrackReader
from jaxepi.genome.intervals import Interval
from jaxepi.sequence import encode, is_cpg, one_hot


@pytest.fixture
def golden_files(golden, tools, tmp_path):
    """The golden genome and its three BigWigs (interval [start, start + 2) a record) on disk."""
    arrays = golden("melody", "data_reading.npz")
    codes = {key.removeprefix("in:fasta/"): encode(arrays[key].tobytes()) for key in arrays if "in:fasta/" in key}
    fasta = tools.write_fasta(tmp_path / "golden.fa", codes)
    lengths = {chrom: len(own) for chrom, own in codes.items()}
    bigwigs = []
    for i in range(3):
        own = {chrom: (arrays[f"in:bigwig{i}/{chrom}/start"], arrays[f"in:bigwig{i}/{chrom}/value"]) for chrom in codes}
        bigwigs.append(
            tools.write_bigwig(tmp_path / f"{i}.bw", lengths, {chrom: (s, s + 2, v) for chrom, (s, v) in own.items()})
        )
    return arrays, fasta, bigwigs


def test_golden_batch(golden_files, tools, prepare, tmp_path):
    arrays, fasta, bigwigs = golden_files
    words = [
        "melody",
        "--fasta",
        fasta,
        "--out",
        tmp_path / "d",
        "--window",
        4000,
        "--windows",
        "random:3",
        "--seed",
        7,
    ]
    words += ["--bigwigs", *bigwigs, "--processes", 1, "--no-progress", "--max-n-fraction", 2, "--dyads", "as-recorded"]
    status, _, err = prepare([str(word) for word in words])
    assert status == 0, err
    records = {(r["chrom"], int(r["start"])): r for r in tools.load(tmp_path / "d")["train"]}
    lengths = Genome(fasta).lengths
    spans = regions.split_by_chromosome(lengths, ["chr10"], ["chr8", "chr9"], ["chrY"])["train"]
    draws, _ = regions.draw(spans, 4000, 3, seed=7)
    assert len(records) == 3
    for i in range(3):
        record = records[draws.chroms[draws.chrom_id[i]], int(draws.start[i])]
        np.testing.assert_array_equal(
            one_hot(record["sequence"]), arrays["out:batch_npseed7/seq"][i].astype(np.float32)
        )
        dense = tools.expand(record, 4000)
        np.testing.assert_array_equal(np.nan_to_num(dense).T, arrays["out:batch_npseed7/methy"][i])
    assert (records[draws.chroms[draws.chrom_id[0]], int(draws.start[0])]["width"] == 2).mean() > 0.9


def random_tracks(rng, tools, folder, length, count):
    """Tracks whose records overlap CpGs in every way: two-base, one-base at C or G or elsewhere, longer, -1."""
    paths = []
    for k in range(count):
        sizes = rng.choice([1, 1, 2, 2, 3, 17], length // 6)
        starts = np.cumsum(sizes + rng.choice([0, 0, 1, 4, 30], len(sizes))) - sizes
        keep = starts + sizes <= length
        starts, sizes = starts[keep], sizes[keep]
        value = rng.choice(np.array([-1, 0, 0.25, 0.333, 1], np.float32), len(starts))
        paths.append(
            tools.write_bigwig(folder / f"r{k}.bw", {"chrA": length}, {"chrA": (starts, starts + sizes, value)})
        )
    return paths


@pytest.mark.parametrize("seed", range(12))
def test_expanding_sites_gives_the_per_base_matrix(seed, tools, tmp_path):
    rng = np.random.default_rng(seed)
    length, count, window = int(rng.integers(500, 3000)), int(rng.integers(1, 5)), int(rng.integers(40, 300))
    codes = tools.random_codes(rng, length, cpg_share=rng.choice([0.01, 0.2]))
    fasta = tools.write_fasta(tmp_path / "g.fa", {"chrA": codes})
    paths = random_tracks(rng, tools, tmp_path, length, count)
    reader = TrackReader([TrackFile(p.stem, p) for p in paths])
    places = sorted(rng.integers(0, length - window + 1, 8).tolist())
    windows = {"train": regions.make_windows([("chrA", start) for start in places])}
    recipe = MelodyRecipe(Genome(fasta), reader, windows, window, dyads="as-recorded", max_n_fraction=2)
    (block,) = recipe.blocks()["train"]
    result = recipe.make_block(block)
    assert [key for key, _ in result.records] == list(range(8))
    files = [pyBigWig.open(str(p)) for p in paths]
    for (_, record), start in zip(result.records, places, strict=True):
        expected = np.stack([f.values("chrA", start, start + window, numpy=True) for f in files], axis=1)
        np.testing.assert_array_equal(tools.expand(record, window), expected)
        np.testing.assert_array_equal(record["sequence"], codes[start : start + window])
        assert (np.diff(record["position"].astype(int)) > 0).all()
        two = record["position"][record["width"] == 2]
        assert (record["sequence"][two] == 1).all() and (record["sequence"][two + 1] == 2).all()
        own = Sites(record["position"].astype(int), record["width"], record["value"]).expand(window)
        np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("seed", range(6))
def test_dyads_both_fills_the_other_letter_and_nothing_else(seed, tools, tmp_path):
    rng = np.random.default_rng(100 + seed)
    length = 1500
    codes = tools.random_codes(rng, length, cpg_share=0.15)
    (path,) = random_tracks(rng, tools, tmp_path, length, 1)
    stored = pyBigWig.open(str(path)).values("chrA", 0, length, numpy=True)
    reader = TrackReader([TrackFile("t", path)])
    expected = stored.copy()
    filled = 0
    for i in range(length - 1):
        if codes[i] == 1 and codes[i + 1] == 2 and np.isnan(stored[i]) != np.isnan(stored[i + 1]):
            expected[i] = expected[i + 1] = stored[i + 1] if np.isnan(stored[i]) else stored[i]
            filled += 1
    assert filled > 0
    np.testing.assert_array_equal(read_sites(reader, "chrA", 0, codes, "both").expand(length)[:, 0], expected)


def test_dyads_both_does_not_depend_on_where_the_window_ends(tools, tmp_path):
    codes = encode("AAAACGAAAA" * 4)
    fasta = tools.write_fasta(tmp_path / "g.fa", {"chrA": codes})
    at_g = np.array([5, 15, 25, 35])
    path = tools.write_bigwig(tmp_path / "t.bw", {"chrA": 40}, {"chrA": (at_g, at_g + 1, np.full(4, 0.5))})
    windows = {"train": regions.make_windows([("chrA", 0), ("chrA", 5)])}  # the first ends, the second begins, in a CpG
    recipe = MelodyRecipe(Genome(fasta), TrackReader([TrackFile("t", path)]), windows, 15)
    (_, first), (_, second) = recipe.make_block(recipe.blocks()["train"][0]).records
    assert first["position"].tolist() == [4, 14] and first["width"].tolist() == [2, 1]
    assert second["position"].tolist() == [0, 9] and second["width"].tolist() == [1, 2]


def test_ambiguity_codes_are_counted_wherever_the_block_is_made(tools, tmp_path):
    (tmp_path / "g.fa").write_text(">chrA\n" + "ACRTNACGYT" * 4 + "\n")
    place = (np.array([5]), np.array([6]), np.array([0.5]))
    path = tools.write_bigwig(tmp_path / "t.bw", {"chrA": 40}, {"chrA": place})
    windows = {"train": regions.make_windows([("chrA", 0), ("chrA", 20)])}
    recipe = MelodyRecipe(Genome(tmp_path / "g.fa"), TrackReader([TrackFile("t", path)]), windows, 10)
    recipe.genome.codes("chrA", 0, 40)  # counts for no block
    (block,) = recipe.blocks()["train"]
    tallies = [made.make_block(block).tally for made in (recipe, recipe, pickle.loads(pickle.dumps(recipe)))]
    for tally in tallies:
        assert (tally.sums["n_bases"], tally.sums["ambiguous_bases"]) == (6, 4)  # the N of both windows is none
    counts = recipe.manifest({"train": tallies[0]})["splits"]["train"]
    assert counts["ambiguous_bases"] == 4 and ambiguity_note(counts) == " (4 bases of them ambiguity codes)"
    assert ambiguity_note({"n_bases": 3}) == ambiguity_note(counts | {"ambiguous_bases": 0}) == ""


def test_counts_of_the_manifest(world, tools, prepare):
    out = world.folder / "d"
    status, printed, err = prepare(world.argv(out))
    assert status == 0, err
    manifest = json.loads((out / "manifest.json").read_text())
    records = tools.load(out)
    most_sites = most_letters = 0
    for split, counts in manifest["splits"].items():
        letters, bases = 0, 0
        recordless, uncovered, outside = np.zeros(3, int), np.zeros(3, int), np.zeros(3, int)
        for record in records[split]:
            cpg = is_cpg(record["sequence"])
            dense = tools.expand(record, 4000)
            letters += cpg.sum()
            bases += (record["sequence"] == 4).sum()
            recordless += np.isnan(dense[cpg]).sum(axis=0)
            uncovered += (dense[cpg] == -1).sum(axis=0)
            outside += (~np.isnan(dense[~cpg])).sum(axis=0)
            most_sites, most_letters = max(most_sites, len(record["position"])), max(most_letters, cpg.sum())
        assert counts["records"] == len(records[split]) > 0
        assert counts["cpg_letters"] == letters and counts["n_bases"] == bases
        assert counts["cpg_letters_recordless"] == recordless.tolist() and recordless.min() > 0
        assert counts["uncovered"] == uncovered.tolist() and uncovered.min() > 0
        assert counts["values_outside_cpg"] == outside.tolist()
        assert f"{split}: {len(records[split])} windows" in printed
    assert (manifest["max_sites"], manifest["max_cpg_letters"]) == (most_sites, most_letters)
    assert manifest["tracks"] == ["track0", "track1", "track2"] and manifest["window"] == 4000


def test_windows_of_n_and_windows_without_records_are_left_out(tools, prepare, tmp_path):
    rng = np.random.default_rng(1)
    codes = tools.random_codes(rng, 10_000, n_share=0)
    codes[:2000] = 4
    codes[2000:3500] = 4
    fasta = tools.write_fasta(tmp_path / "g.fa", {"chr1": codes})
    first = np.flatnonzero((codes[6000:-1] == 1) & (codes[6001:] == 2)) + 6000
    track = tools.write_bigwig(
        tmp_path / "t.bw", {"chr1": 10_000}, {"chr1": (first, first + 2, np.full(len(first), 0.5))}
    )

    def starts(name, *more):
        words = ["melody", "--fasta", fasta, "--bigwigs", track, "--out", tmp_path / name, "--window", 2000]
        words += ["--valid-chroms", "none", "--test-chroms", "none", "--processes", 1, "--no-progress", *more]
        status, _, err = prepare([str(word) for word in words])
        assert status == 0, err
        return [int(r["start"]) for r in tools.load(tmp_path / name)["train"]]

    assert starts("a") == [2000, 4000, 6000, 8000]
    assert starts("b", "--max-n-fraction", 2) == [0, 2000, 4000, 6000, 8000]
    assert starts("c", "--max-n-fraction", 0.5) == [4000, 6000, 8000]
    assert starts("d", "--drop-empty") == [6000, 8000]


def test_windows_beyond_uint16_and_float16_values(tools, prepare, tmp_path):
    rng = np.random.default_rng(2)
    codes = {"chr1": tools.random_codes(rng, 150_000)}
    fasta = tools.write_fasta(tmp_path / "g.fa", codes)
    first = np.array([10, 70_000, 149_000])
    track = tools.write_bigwig(tmp_path / "t.bw", {"chr1": 150_000}, {"chr1": (first, first + 1, np.full(3, 0.333))})
    words = ["melody", "--fasta", fasta, "--bigwigs", track, "--out", tmp_path / "d", "--window", 150_000]
    words += ["--valid-chroms", "none", "--test-chroms", "none", "--value-dtype", "float16", "--dyads", "as-recorded"]
    status, _, err = prepare([str(word) for word in [*words, "--processes", 1, "--no-progress"]])
    assert status == 0, err
    (record,) = tools.load(tmp_path / "d")["train"]
    assert record["position"].dtype == np.int32 and record["position"].tolist() == first.tolist()
    assert record["value"].dtype == np.float16 and (record["value"] == np.float16(0.333)).all()


def test_reading_in_pieces_changes_nothing(world, monkeypatch):
    reader = TrackReader([TrackFile(p.stem, p) for p in world.bigwigs])
    spans = [Interval(chrom, 0, length) for chrom, length in world.lengths.items()]
    recipe = MelodyRecipe(Genome(world.fasta), reader, {"train": regions.tile(spans, 2000, 700).sorted()}, 2000)

    def everything():
        return [r for block in recipe.blocks()["train"] for r in recipe.make_block(block).records]

    whole = everything()
    monkeypatch.setattr("data_prep.melody.recipe._MEMORY_PER_READ", 12 * 3 * 5000)
    assert longest_read(3, 2000) == 5000
    pieces = everything()
    assert [key for key, _ in whole] == [key for key, _ in pieces]
    for (_, a), (_, b) in zip(whole, pieces, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_one_read_is_bounded_for_any_number_of_tracks():
    for tracks in (1, 39, 1000):
        assert longest_read(tracks, 10_000) * tracks * 12 <= 256 << 20
    assert longest_read(10_000, 10_000) == 10_000  # never less than a window
