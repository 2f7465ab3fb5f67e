"""Windows against the golden draws, walks and blocks of the original, and the treatment of blacklists."""

import numpy as np
import pytest

from data_prep.sources import regions
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, Intervals


@pytest.fixture
def arrays(golden):
    return golden("melody", "data_reading.npz")


def golden_lengths(arrays):
    return {key.removeprefix("in:fasta/"): len(arrays[key]) for key in arrays if key.startswith("in:fasta/")}


def places(windows):
    return [(windows.chroms[c], int(s)) for c, s in zip(windows.chrom_id, windows.start, strict=True)]


@pytest.mark.parametrize(("theirs", "ours"), [("train", "train"), ("validate", "valid"), ("test", "test")])
def test_golden_random_draws(arrays, theirs, ours):
    lengths = golden_lengths(arrays)
    spans = regions.split_by_chromosome(lengths, regions.PAPER_VALID, regions.PAPER_TEST, regions.PAPER_DROP)[ours]
    key = f"out:random_positions/{theirs}"
    assert [s.chrom for s in spans] == arrays[f"{key}/chroms"].tolist()
    windows, probability = regions.draw(spans, 4000, 40, seed=5)
    np.testing.assert_allclose(probability, arrays[f"{key}/probs"], rtol=0, atol=1e-12)
    expected = zip(
        arrays[f"{key}/draw_chrom_npseed5"].tolist(), arrays[f"{key}/draw_start_npseed5"].tolist(), strict=True
    )
    assert places(windows) == list(expected)


def test_golden_chromosome_order(arrays):
    spans = regions.split_by_chromosome(golden_lengths(arrays), [], [], [])
    assert list(spans) == ["train"]
    assert [s.chrom for s in spans["train"]] == arrays["out:chrom_order"].tolist()


def test_golden_walk(arrays):
    lengths = golden_lengths(arrays)
    windows = regions.tile([Interval(c, 0, lengths[c]) for c in ("chr8", "chr9")], 4000, 4000)
    walk = zip(arrays["out:sequential/chrom"].tolist(), arrays["out:sequential/start"].tolist(), strict=True)
    assert places(windows) == list(walk)


def test_golden_blocks_without_those_that_run_off_the_chromosome(arrays):
    lengths = golden_lengths(arrays)
    columns = [arrays[f"in:blocks/{name}"].tolist() for name in ("chrom", "start", "end")]
    blocks = [Interval(*row) for row in zip(*columns, strict=True)]
    everywhere = [Interval(chrom, 0, length) for chrom, length in lengths.items()]
    windows, outside = regions.centre_on_blocks(blocks, everywhere, 4000, lengths)
    theirs = list(
        zip(arrays["out:scaled_blocks/chrom"].tolist(), arrays["out:scaled_blocks/start"].tolist(), strict=True)
    )
    # The original means to drop windows beyond the end but keeps them, with an empty sequence.
    inside = [(chrom, start) for chrom, start in theirs if start + 4000 <= lengths[chrom]]
    assert places(windows) == inside
    assert len(theirs) > len(inside) and outside > 0


def test_windows_never_leave_their_span(arrays):
    # The original returns an empty sequence outside a chromosome (golden get_outside, get_negative).
    assert arrays["out:get_outside"].tolist() == arrays["out:get_negative"].tolist() == [0, 4]
    span = [Interval("chr1", 100, 5000)]
    for windows in (regions.tile(span, 1000, 300), regions.draw(span, 1000, 500, seed=1)[0]):
        assert windows.start.min() == 100 if len(windows) < 500 else windows.start.min() >= 100
        assert windows.start.max() + 1000 <= 5000


def test_random_windows_reach_both_ends():
    windows, _ = regions.draw([Interval("chr1", 7, 17)], 4, 300, seed=0)
    assert set(windows.start.tolist()) == set(range(7, 14))


def test_blacklist_touches_half_open():
    blacklist = Intervals.of([Interval("chr1", 100, 200), Interval("chr1", 120, 130), Interval("chr2", 0, 5)])
    hit = blacklist.touches("chr1", np.array([0, 50, 90, 91, 195, 199, 200, 300]), 10)
    assert hit.tolist() == [False, False, False, True, True, True, False, False]
    assert not blacklist.touches("chr9", np.array([0]), 10).any()


@pytest.mark.parametrize("seed", range(5))
def test_blacklist_against_base_marks(seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 900, 12)
    spans = [Interval("chr1", int(s), int(s + n)) for s, n in zip(starts, rng.integers(1, 90, 12), strict=True)]
    marked = np.zeros(1000, bool)
    for span in spans:
        marked[span.start : span.end] = True
    own = np.arange(0, 970)
    expected = [marked[s : s + 30].any() for s in own]
    assert Intervals.of(spans).touches("chr1", own, 30).tolist() == expected


def test_random_windows_are_drawn_again_off_the_blacklist():
    spans = [Interval("chr1", 0, 1000)]
    windows, _ = regions.draw(spans, 100, 200, seed=3, blacklist=Intervals.of([Interval("chr1", 300, 600)]))
    assert len(windows) == 200
    assert ((windows.start + 100 <= 300) | (windows.start >= 600)).all()
    with pytest.raises(JaxepiError, match="leaves no room"):
        regions.draw(spans, 100, 1, seed=3, blacklist=Intervals.of([Interval("chr1", 0, 1000)]))


def test_regions_and_their_errors(tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("#comment\nchr1\t0\t500\ttrain\nchr1\t600\t900\tvalid\nchr2\t5\t100\ttrain\n")
    spans = regions.split_by_regions(bed, {"chr1": 1000, "chr2": 100})
    assert spans == {
        "train": [Interval("chr1", 0, 500), Interval("chr2", 5, 100)],
        "valid": [Interval("chr1", 600, 900)],
    }
    assert regions.split_by_regions(bed, {"1": 1000, "2": 100}, "strip")["valid"] == [Interval("1", 600, 900)]
    for text, message in [
        ("chr1\t0\t2000\ttrain", "1000 bases long"),
        ("chrQ\t0\t20\ttrain", "not in the FASTA"),
        ("chr1\t0\t20", "line 1 names no split"),
        ("chr1\t0\t20\tvaild", r"line 1 names the split 'vaild' \(did you mean 'valid'\?\)"),
        ("chr1\t0\t20\tTrain", r"line 1 names the split 'Train' \(did you mean 'train'\?\)"),
        ("chr1\t0\t20\ttrain\nchr1\t0\t20\ttrain", "line 2 lists chr1:0-20 of split 'train' once more"),
        ("chr1\t30\t20\ttrain", "line 1: chr1:30-20 is no interval"),
        ("chr1\tx\t20\ttrain", "line 1: 'x' and '20' should be whole numbers"),
    ]:
        bed.write_text(text + "\n")
        with pytest.raises(JaxepiError, match=message):
            regions.split_by_regions(bed, {"chr1": 1000})


def test_a_chromosome_in_two_splits_is_refused():
    with pytest.raises(JaxepiError, match="chr1 is in --valid-chroms and in --test-chroms"):
        regions.split_by_chromosome({"chr1": 5}, ["chr1"], ["chr1"], [])


def test_blocks_of_the_published_table_and_of_bed(tmp_path):
    table = tmp_path / "blocks.csv"
    table.write_text("\ufeffstartCpG,endCpG,chr_hg38,start_hg38,end_hg38,strand_hg38\n8105,8112,chr1,898488,898599,+\n")
    assert regions.read_blocks(table) == [Interval("chr1", 898488, 898599)]
    bed = tmp_path / "blocks.bed"
    bed.write_text("1 10 20\n")
    assert regions.read_blocks(bed, "add") == [Interval("chr1", 10, 20)]
    table.write_text("a,b\n1,2\n")
    with pytest.raises(JaxepiError, match="has the columns a, b"):
        regions.read_blocks(table)
