"""Scores a base: what is stored and counted."""

import numpy as np
import pytest

from data_prep.sources.per_base import PerBaseTrack
from jaxepi.errors import JaxepiError

LENGTHS = {"chr1": 60, "chr2": 30}


def test_scores_missing_ones_and_what_lies_beyond_the_chromosome(tmp_path, tools):
    at = np.arange(10, 40)
    values = np.linspace(-0.5, 1.5, 30)
    path = tools.write_bigwig(tmp_path / "c.bw", {"1": 60}, {"1": (at, at + 1, values)})
    track = PerBaseTrack(path, LENGTHS, "add")
    assert track.check(tmp_path / "genome.fa", "error") == ["chr2"]
    scores, counts = track.read("chr1", -5, 65)
    assert scores.dtype == np.float16 and counts == {"missing": 40, "outside": int(((values < 0) | (values > 1)).sum())}
    np.testing.assert_array_equal(scores[15:45], values.astype(np.float32).astype(np.float16))
    assert not scores[:15].any() and not scores[45:].any()
    scores, counts = track.read("chr2", 0, 30)
    assert not scores.any() and counts == {"missing": 30, "outside": 0}


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, 70_000])
def test_scores_that_are_none(tmp_path, tools, wrong):
    at = np.arange(2)
    path = tools.write_bigwig(tmp_path / "c.bw", LENGTHS, {"chr1": (at + 7, at + 8, np.array([0.5, wrong]))})
    with pytest.raises(JaxepiError, match=r"c.bw has the score .* at chr1:8-9: a number from -65,504"):
        PerBaseTrack(path, LENGTHS).read("chr1", 0, 20)
