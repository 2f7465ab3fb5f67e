"""Bins of windows against reading each window by itself, for every transform."""

import numpy as np
import pytest

from data_prep.coverage import aggregate as module
from data_prep.coverage.aggregate import COUNTS, Aggregator, Binning, aggregate, track_counts
from data_prep.coverage.sequences import make_sequences
from data_prep.coverage.targets import SUM_STATS, Target
from data_prep.coverage.transforms import TRANSFORMS, Transform, baselines, interpolated, pooled, soft_clipped
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Intervals

LENGTHS = {"chr1": 9_000, "chr2": 5_000}
LENGTH, WIDTH = 640, 32
BLACKLIST = Intervals.of([("chr1", 500, 900), ("chr1", 880, 1_000), ("chr2", 0, 40), ("chr2", 3_000, 3_010)])


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """Values a base of two chromosomes, missing in places, the same as BigWig, and windows."""
    import pyBigWig

    folder, rng = tmp_path_factory.mktemp("signals"), np.random.default_rng(3)
    values = {chrom: (rng.gamma(0.5, 4, length)).astype(np.float32) for chrom, length in LENGTHS.items()}
    for own in values.values():
        for start in rng.integers(0, len(own), 6):
            own[start : start + 50] = np.nan
        own[rng.integers(0, len(own), 3)] = 90_000
    bigwig = pyBigWig.open(str(folder / "a.bw"), "w")
    bigwig.addHeader(list(LENGTHS.items()))
    for chrom, own in values.items():
        at = np.flatnonzero(~np.isnan(own))
        bigwig.addEntries([chrom] * len(at), at.tolist(), ends=(at + 1).tolist(), values=own[at].tolist())
    bigwig.close()
    places = {
        "train": [("chr1", int(s)) for s in rng.permutation(np.arange(0, 8_361, 209))],
        "test": [("chr2", int(s)) for s in (0, 3_000, 10, 4_360, 2_711)],
    }
    return folder, values, make_sequences(places, LENGTH)


def alone(values, target, how, binning, regions):
    """Bins of one window from its values (L,), step by step."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(how.dtype)
        if binning.interpolate:
            values = interpolated(values[None], how.interpolate_to_zero)[0]
        missing = np.isnan(values)
        if not how.missing_spoils and binning.missing == "zero":
            values, missing = np.nan_to_num(values, nan=0), np.zeros(LENGTH, bool)
        base = baselines(values[None], how, LENGTH // WIDTH)[0]
        for start, end in regions:
            part = slice(start if how.slices_wrap else max(start, 0), end)
            values[part] = base if how.blacklist == "set" else np.clip(values[part], -base, base)
        values[missing] = base
        scale = target.scale
        bins = pooled((values * scale if how.scale_first else values).reshape(-1, WIDTH), target.sum_stat, how.root)
        if target.clip_soft is not None:
            bins = soft_clipped(bins, target.clip_soft, how.soft_offset)
        bins = np.clip(bins, -target.clip if how.symmetric else 0, target.clip)
        return np.clip(bins if how.scale_first else bins * scale, -65504, 65504).astype(np.float16)


def listed(chrom, start):
    """Blacklisted stretches of a window, relative to it, widened."""
    spans = []
    for region in BLACKLIST:
        low, high = max(region.start - 20, 0), region.end + 20
        if region.chrom == chrom and high > start and low < start + LENGTH:
            spans.append((low - start, high - start))
    return spans


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("more", [{}, {"interpolate": True}, {"missing": "baseline"}])
def test_bins_are_those_of_each_window_by_itself(genome, tmp_path, monkeypatch, transform, more):
    monkeypatch.setattr(module, "_BATCH", 3 * LENGTH)
    monkeypatch.setattr(module, "_STRETCH", 4 * LENGTH)
    folder, values, sequences = genome
    how, binning = TRANSFORMS[transform], Binning(WIDTH, TRANSFORMS[transform], clip_pct=1.0, **more)
    stats = [stat for stat in SUM_STATS if not (stat == "sum_exp75" and not how.exp75)]
    stats = [stat for stat in stats if not (stat.endswith("_sqrt") and how.root == "none")]
    targets = [Target(s, folder / "a.bw", clip=300, clip_soft=20, scale=0.75, sum_stat=s) for s in stats]
    store = aggregate(Aggregator(tmp_path, targets, sequences, binning, BLACKLIST), 1, False)
    got = store.read(0, len(sequences))
    for row in range(len(sequences)):
        chrom, start = sequences.chroms[sequences.chrom_id[row]], int(sequences.start[row])
        for track, target in enumerate(targets):
            window = values[chrom][start : start + LENGTH]
            want = alone(window, target, how, binning, listed(chrom, start))
            np.testing.assert_array_equal(got[row, :, track], want, f"{target.name} {chrom}:{start}")


def test_counts_say_what_happened_to_bins(genome, tmp_path):
    folder, values, sequences = genome
    targets = [Target("a", folder / "a.bw", clip=100, clip_soft=50), Target("b", folder / "a.bw", scale=1e3)]
    store = aggregate(Aggregator(tmp_path, targets, sequences, Binning(WIDTH, clip_pct=1.0), BLACKLIST), 1, False)
    for number, split in enumerate(sequences.splits):
        told = track_counts(store, number)
        rows = np.flatnonzero(sequences.split_id == number)
        assert list(told) == [f"bins_{name}" for name in COUNTS]
        missing = sum(
            np.isnan(values[sequences.chroms[sequences.chrom_id[r]]][s : s + LENGTH]).reshape(-1, WIDTH).any(1).sum()
            for r, s in zip(rows, sequences.start[rows].tolist(), strict=True)
        )
        assert told["bins_missing"] == [missing, missing], split
        assert told["bins_blacklisted"][0] > 0 and told["bins_beyond_float16"][0] == 0 < told["bins_beyond_float16"][1]
        assert told["bins_clipped"][1] == 0 < told["bins_clipped"][0] < told["bins_soft_clipped"][0]
        assert told["bins_nonzero"][0] == (store.read(rows[0], len(rows))[:, :, 0] != 0).sum()


@pytest.mark.parametrize("share", [1.0, 0.9999999, 0.95])
def test_clip_pct_is_the_quantile_of_a_track_however_it_is_cut(genome, tmp_path, share):
    folder, _, sequences = genome
    targets = [Target("a", folder / "a.bw"), Target("b", folder / "a.bw", scale=-1.0)]
    stores = []
    for name, pct in (("plain", 1.0), ("cut", share)):
        (tmp_path / name).mkdir()
        aggregator = Aggregator(tmp_path / name, targets, sequences, Binning(WIDTH, clip_pct=pct), BLACKLIST)
        stores.append(aggregate(aggregator, 1, False))
    plain, cut = (store.read(0, len(sequences)) for store in stores)
    for track in range(2):
        limit = np.float16(np.quantile(np.abs(plain[:, :, track]).astype(np.float64), share))
        np.testing.assert_array_equal(cut[:, :, track], np.clip(plain[:, :, track], -limit, limit))
        assert (cut[:, :, track] != plain[:, :, track]).any() == (share < 0.99)


def test_interpolation_between_and_beyond():
    values = np.array([[np.nan, 1, np.nan, np.nan, 4, np.nan], [np.nan] * 6, [1, 2, 3, 4, 5, 6.0]], np.float32)
    np.testing.assert_allclose(interpolated(values, False), [[1, 1, 2, 3, 4, 4], [0] * 6, [1, 2, 3, 4, 5, 6]])
    np.testing.assert_allclose(interpolated(values, True), [[0.5, 1, 2, 3, 4, 2], [0] * 6, [1, 2, 3, 4, 5, 6]])


def test_negative_values_have_no_root(tmp_path):
    with pytest.raises(JaxepiError, match="gives bins that are no number with the sum_stat sum_sqrt"):
        sequences = make_sequences({"train": [("chr1", 0)]}, 64)
        aggregator = Aggregator(tmp_path, [Target("a", tmp_path / "a.bw", sum_stat="sum_sqrt")], sequences,
                                Binning(WIDTH), Intervals.of([]))  # fmt: skip
        aggregator._bins(aggregator.targets[0], np.array([0]), np.full((1, 64), -2, np.float32))


def test_the_default_has_no_slip():
    assert TRANSFORMS["float32"] == Transform()
