"""Every array of the golden file of single functions, against ours: each of its keys must be in the table below."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from data_prep.deepcpg.recipe import nearest
from data_prep.deepcpg.statistics import neighbour_means, over_cells
from jaxepi.analysis.filter_motifs import Motif, MotifCollector, meme_text, triangular_weights, trim
from jaxepi.genome.intervals import Intervals, extended, joined
from jaxepi.sequence import channels_of, kmer_counts, one_hot

ATGC = channels_of("ATGC")
CODES = np.array([*ATGC, 4], np.uint8)  # the original's codes A T G C N to ours; its own inverse

Arrays = Mapping[str, np.ndarray]


def with_nan(values: np.ndarray) -> np.ndarray:
    return np.where(values == -1, np.nan, values.astype(np.float64))


def without_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), -1, values)


def site_statistic(arrays: Arrays, kind: str, least: str, name: str) -> np.ndarray:
    return without_nan(over_cells(with_nan(arrays[f"in:stats:{kind}"]), [name], int(least), "truncated")[:, 0])


def window_statistic(arrays: Arrays, window: str, name: str) -> np.ndarray:
    state, distance = with_nan(arrays["in:win:states"]), arrays["in:win:dists"]
    return without_nan(over_cells(neighbour_means(state, distance, int(window)), [name], 0, "truncated")[:, 0])


def neighbours(arrays: Arrays, half: str, what: str) -> np.ndarray:
    """NaN stands for a missing neighbour in the golden arrays too."""
    positions, values = arrays["in:knn:source_pos"].astype(np.int32), arrays["in:knn:source_state"].astype(np.float32)
    found = nearest(positions, values, arrays["in:knn:target_pos"].astype(np.int32), 2 * int(half))
    return found[("state", "dist").index(what)]


def spans(arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Regions of the original: 1-based, both ends included."""
    return arrays["in:anno:start"], arrays["in:anno:end"]


def regions(arrays: Arrays) -> tuple[Intervals, np.ndarray]:
    rows = (("1", start, end) for start, end in zip(*spans(arrays), strict=True))
    return Intervals.of(rows), arrays["in:knn:target_pos"] - 1


def long_regions(arrays: Arrays, least: str) -> np.ndarray:
    starts, ends = spans(arrays)
    starts, ends = extended(starts - 1, ends, int(least))
    return np.stack([starts + 1, ends])


def words(arrays: Arrays, length: str) -> np.ndarray:
    """The original numbers words with their first letter as the lowest digit, in the order A T G C."""
    counts = kmer_counts(CODES[arrays["in:kmer_seq"]], int(length)).reshape(-1, *[4] * int(length))
    counts = counts[np.ix_(range(len(counts)), *[ATGC] * int(length))]
    return counts.transpose(0, *range(int(length), 0, -1)).reshape(len(counts), -1)


def collected(arrays: Arrays, share: str, most: str, width: str) -> tuple[MotifCollector, Motif]:
    collector = MotifCollector(1, int(width), float(share), int(most))
    collector.add(CODES[arrays["in:motif:seqs"]], arrays["in:motif:act"][:, :, None])
    (motif,) = collector.motifs()
    return collector, motif


def meme(arrays: Arrays) -> list[str]:
    collector, motif = collected(arrays, "0.2", "25000", "8")
    short = trim(motif.frequencies, 0.0, drop_last=True)
    return meme_text([("filter3", motif.frequencies, 90), ("filter4", short, 90)], collector.background()).split()


# key -> ours, from all arrays and the groups of the pattern, and from the golden array what it is compared with
Table = list[tuple[str, Callable[..., Any], Callable[[np.ndarray], Any]]]
TABLE: Table = [
    (r"cpg_stats:(\w+):cov(\d+):(\w+)", site_statistic, np.asarray),
    (r"win_stats:(\d+):(\w+)", window_statistic, np.asarray),
    (r"knn:k(\d+):(state|dist)", neighbours, np.asarray),
    (r"anno:joined", lambda arrays: np.stack(joined(*spans(arrays))[:2]), np.asarray),
    (r"anno:group", lambda arrays: joined(*spans(arrays))[2], np.asarray),
    (r"anno:is_in", lambda arrays: regions(arrays)[0].holds("1", regions(arrays)[1], "closed"), np.asarray),
    (r"anno:distance", lambda arrays: regions(arrays)[0].distance("1", regions(arrays)[1], "closed"), np.asarray),
    (r"anno:extend_len_(\d+)", long_regions, np.asarray),
    (r"linear_weights:(\d+)", lambda arrays, length: triangular_weights(int(length)), np.asarray),
    (r"dna_onehot", lambda arrays: one_hot(CODES[arrays["in:dna_int"]], n_value=0.0)[..., ATGC], np.asarray),
    (r"kmer(\d+)", words, np.asarray),
    (r"map_alphabets", lambda arrays: arrays["in:map_alphabets"][ATGC], np.asarray),
    (r"motif:kmers:(.+):(.+):(.+)", lambda arrays, *how: collected(arrays, *how)[1].sites, lambda want: CODES[want]),
    (r"motif:pwm:(.+):(.+):(.+)", lambda arrays, *how: collected(arrays, *how)[1].frequencies, lambda w: w[:, ATGC]),
    (r"motif:ic:(.+):(.+):(.+)", lambda arrays, *how: collected(arrays, *how)[1].information, np.asarray),
    (r"motif:meme_text", meme, lambda want: str(want).split()),
]


def test_every_array_of_the_original_functions(golden):
    arrays = golden("deepcpg", "functions.npz")
    keys = [key for key in arrays.files if key.startswith("out:")]
    assert len(keys) == 55
    for key in keys:
        matches = [(re.fullmatch(f"out:{pattern}", key), ours, theirs) for pattern, ours, theirs in TABLE]
        found = [(match.groups(), ours, theirs) for match, ours, theirs in matches if match]
        assert len(found) == 1, f"{key} is covered by {len(found)} lines of the table"
        groups, ours, theirs = found[0]
        got, want = ours(arrays, *groups), theirs(arrays[key])
        if isinstance(want, list):
            assert got == want, key
            continue
        assert np.shape(got) == np.shape(want), key
        exact = want.dtype.kind in "iub"
        np.testing.assert_allclose(got, want, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6, err_msg=key)


@pytest.mark.parametrize("pattern", [pattern for pattern, _, _ in TABLE])
def test_the_table_has_no_idle_line(golden, pattern):
    assert any(re.fullmatch(f"out:{pattern}", key) for key in golden("deepcpg", "functions.npz").files)
