"""Permutations as PyTorch draws them, and windows by regions."""

import numpy as np
import pytest

from data_prep.epiformer.splits import MOST_PERMUTED, at_random, by_regions, check_filled, permutation
from data_prep.sources.regions import make_windows
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval


@pytest.mark.parametrize("seed", [2022, 0, (1 << 32) - 1])
def test_permutations_are_those_of_torch(seed):
    torch = pytest.importorskip("torch")
    for count in (0, 1, 2, 3, 257, 10_000):
        want = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
        np.testing.assert_array_equal(permutation(count, seed), want)
    with pytest.raises(ValueError, match="permuted in another way"):
        permutation(MOST_PERMUTED, seed)


def test_four_fifths_train_rounded_down():
    split = at_random(11, 5)
    assert len(split["train"]) == 8 and sorted([*split["train"], *split["valid"]]) == list(range(11))


def test_windows_lie_wholly_in_regions_that_may_touch():
    windows = make_windows([("a", 0), ("a", 10), ("a", 20), ("b", 0), ("c", 5)])
    spans = {
        "train": [Interval("a", 0, 15), Interval("a", 15, 29)],
        "valid": [Interval("b", 0, 10), Interval("a", 29, 40)],
        "test": [Interval("d", 0, 99)],
    }
    split = by_regions(windows, 10, spans)
    assert {name: own.tolist() for name, own in split.items()} == {"train": [0, 1], "valid": [3], "test": []}
    with pytest.raises(JaxepiError, match="split 'test' is empty: none of the 5 windows"):
        check_filled(split, 5)
