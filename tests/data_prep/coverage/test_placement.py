"""Contigs, splits and windows: the rules of the original, and what they must never do."""

import numpy as np
import pytest

from data_prep.coverage import splits
from data_prep.coverage.contigs import break_up, intersect, peak_regions, rejoin, subtract, whole_chromosomes
from data_prep.coverage.sequences import lay, make_sequences, read_sequences, shared_windows, unmappable_bins
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, Intervals

GENOME = {"chr1": 100_000, "chr2": 61_000, "chrM": 900}


def test_gaps_are_cut_out_also_where_they_overlap():
    gaps = Intervals.of([("chr1", 10_000, 20_000), ("chr1", 15_000, 30_000), ("chr2", 0, 1_000), ("chrM", 0, 900)])
    left = subtract(whole_chromosomes(GENOME), gaps)
    assert left == [("chr1", 0, 10_000), ("chr1", 30_000, 100_000), ("chr2", 1_000, 61_000)]


def test_limits_keep_common_parts():
    parts = intersect(whole_chromosomes(GENOME), [Interval("chr2", 5, 10), Interval("chr1", 99_000, 200_000)])
    assert parts == [("chr1", 99_000, 100_000), ("chr2", 5, 10)]


def test_breaking_keeps_every_base_and_parity_loses_one_contig():
    whole = whole_chromosomes(GENOME)
    kept = break_up(whole, 20_000)
    assert max(c.length for c in kept) <= 20_000 and sum(c.length for c in kept) == sum(GENOME.values())
    assert sorted(rejoin(kept)) == sorted(whole)
    lost = break_up(whole, 20_000, "parity")
    (missing,) = set(kept) - set(lost)
    assert missing.length == max(c.length for c in kept) and set(lost) < set(kept)
    assert break_up([], 10, "parity") == []
    assert sorted(break_up(whole, 1 << 20)) == sorted(whole)


def test_contigs_that_touch_are_joined_again():
    pieces = [Interval("b", 50, 60), Interval("a", 10, 20), Interval("a", 0, 10), Interval("b", 61, 70)]
    assert rejoin(pieces) == [("b", 50, 60), ("b", 61, 70), ("a", 0, 20)]


def test_a_lone_peak_becomes_whole_bins_with_its_flanks():
    (region,) = peak_regions(Intervals.of([("chr1", 5_000, 5_010)]), 192, 576)
    assert region.length == 1344 and region.start < 5_000 - 576 and region.end > 5_010 + 576


def test_shares_come_out_about_right_and_all_contigs_once():
    contigs = [Interval("chr1", i * 1_000, i * 1_000 + 1_000) for i in range(400)]
    made = splits.by_share(contigs, 0.1, 0.2, np.random.RandomState(44))
    assert sorted(c for own in made.values() for c in own) == contigs
    assert len(made["test"]) == pytest.approx(40, abs=8) and len(made["valid"]) == pytest.approx(80, abs=12)
    assert made == splits.by_share(contigs[::-1], 0.1, 0.2, np.random.RandomState(44)), "order of contigs is no matter"
    folds = splits.by_fold(contigs, 4, np.random.RandomState(1))
    assert list(folds) == ["fold0", "fold1", "fold2", "fold3"]
    assert all(len(own) == pytest.approx(100, abs=15) for own in folds.values())


def test_a_long_contig_goes_to_no_small_split():
    contigs = [Interval("chr1", 0, 500), *(Interval("chr2", i, i + 1) for i in range(500))]
    for seed in range(20):
        assert contigs[0] in splits.by_share(contigs, 0.3, 0.3, np.random.RandomState(seed))["train"]


def test_chromosomes_and_their_contradictions():
    made = splits.by_chromosome(whole_chromosomes(GENOME), "chrM", "chr2", GENOME)
    assert {split: [c.chrom for c in own] for split, own in made.items()} == {
        "train": ["chr1"], "valid": ["chr2"], "test": ["chrM"]
    }  # fmt: skip
    assert splits.shares_of("chr1", "chr2") is None and splits.shares_of(".1", "0") == (0.1, 0)
    assert splits.shares_of("1", "2,3", {"1": 9, "2": 9, "3": 9}) is None, "chromosomes may be called as numbers are"
    for test, valid, sentence in [
        ("1", "chr2", "--test names '1' where the FASTA has 'chr1'"),
        ("chr1", "chr1", "chr1 is in --valid and in --test"),
        ("chr9", "chr1", "--test names 'chr9'"),
    ]:
        with pytest.raises(JaxepiError, match=sentence):
            splits.by_chromosome([], test, valid, GENOME)
    for test, valid in [("0.1", "chr2"), ("0.6", "0.4"), ("-0.1", "0.1")]:
        with pytest.raises(JaxepiError, match=f"--test (is )?{test}"):
            splits.shares_of(test, valid)


def test_windows_lie_in_their_contigs_on_the_grid_each_once():
    contigs = {"train": [Interval("chr1", 30, 1_000)], "valid": [Interval("chr2", 0, 600)]}
    whole, made = lay(contigs, 200, {"train": 100, "test": 200}, 20, 1.0, 44)
    assert whole == contigs and made.counts() == {"train": 8, "valid": 3}
    assert sorted(made.start[made.split_id == 0]) == list(range(40, 800, 100))
    assert sorted(made.start[made.split_id == 1]) == [0, 200, 400]
    assert made.bed().splitlines()[0].split("\t")[3] == "train"
    _, fewer = lay(contigs, 200, {"train": 100, "test": 200}, 20, 0.5, 44)
    assert fewer.counts() == {"train": 4, "valid": 1}
    with pytest.raises(JaxepiError, match="split 'test' is empty: no contig of it holds a window of 200 bp"):
        lay(contigs | {"test": [Interval("chrM", 0, 150)]}, 200, {"train": 100, "test": 200}, 1, 1.0, 44)


def test_given_windows_of_both_lengths(tmp_path):
    path = tmp_path / "sequences.bed"
    path.write_text("chr1\t100\t300\ttrain\nchr2\t50\t350\ttrain\nchr1\t0\t200\ttest\n")
    made = read_sequences(path, GENOME, 300, 50, "as-is")
    assert made.bed() == "chr1\t100\t300\ttrain\nchr2\t100\t300\ttrain\nchr1\t0\t200\ttest\n"
    for text, sentence in [
        ("chr1\t0\t250\ttrain\n", "line 1 is 250 bp long: windows of 300 bp"),
        ("chr1\t0\t200\n", "line 1 names no split"),
        ("chr9\t0\t200\ttrain\n", "chr9 is not in the FASTA"),
        ("chrM\t800\t1000\ttrain\n", "chrM is 900 bases long"),
        ("1\t0\t200\ttrain\n", "names '1' where the FASTA has 'chr1'"),
        ("chr1\t0\t200\ttrain\nchr1\t0\t200\ttest\n", "line 2 lists chr1:0-200 once more"),
        ("", "holds no window"),
    ]:
        path.write_text(text)
        with pytest.raises(JaxepiError, match=sentence):
            read_sequences(path, GENOME, 300, 50, "as-is")


def test_windows_that_two_splits_share_are_counted():
    made = make_sequences({"train": [("chr1", 0), ("chr1", 400)], "test": [("chr1", 100), ("chr2", 400)]}, 300)
    assert shared_windows(made) == 2, "100-400 shares bases with 0-300, and only touches 400-700"


def test_unmappable_bins_are_those_of_a_loop_over_windows_and_regions():
    rng = np.random.default_rng(0)
    places = {"train": [(f"chr{rng.integers(1, 4)}", int(start)) for start in rng.integers(0, 5_000, 40)]}
    sequences = make_sequences(places, 320)
    start = rng.integers(0, 5_000, 60)
    regions = Intervals.of(
        (f"chr{rng.integers(1, 3)}", int(s), int(s + n)) for s, n in zip(start, rng.integers(1, 400, 60), strict=True)
    )
    want = np.zeros((40, 10), bool)
    for i, (chrom, at) in enumerate(places["train"]):
        for region in regions:
            low, high = max(region.start, at), min(region.end, at + 320)
            if region.chrom != chrom or low >= high:
                continue
            first, last = (low - at) // 32, -(-(high - at) // 32)
            first += at + (first + 1) * 32 - low < 3.2
            last -= high - (at + (last - 1) * 32) < 3.2
            want[i, first:last] = True
    assert np.array_equal(unmappable_bins(sequences, regions, 32), want) and 0 < want.mean() < 1
