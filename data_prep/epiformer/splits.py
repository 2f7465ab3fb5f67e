"""Which window is in which split: by chromosome, by regions, or at random as the original draws."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.sources.regions import Windows
from jaxepi.errors import JaxepiError
from jaxepi.genome.intervals import Interval, Intervals

TRAIN_SHARE = 0.8
# PyTorch draws 64 bits at a time for more, so that other numbers come out.
MOST_PERMUTED = (1 << 32) // 20
Numbers = dict[str, np.ndarray]  # split -> numbers of its windows, in the order of the records


def permutation(count: int, seed: int) -> np.ndarray:
    """What `torch.manual_seed(seed); torch.randperm(count)` gives on a CPU: (count,) int64.

    Both programs draw with the Mersenne twister of Matsumoto and Nishimura (1998), seeded alike; each place in turn
    changes with one that is not before it, chosen by the rest of a 32-bit draw.

    Raises:
        ValueError: more than `MOST_PERMUTED` numbers.
    """
    if count >= MOST_PERMUTED:
        raise ValueError(f"{count} numbers are permuted in another way")
    draws = np.random.RandomState(seed).randint(0, 1 << 32, max(count - 1, 0), dtype=np.uint32)
    others = np.arange(len(draws)) + draws % (count - np.arange(len(draws)))
    order = list(range(count))
    for place, other in enumerate(others.tolist()):
        order[place], order[other] = order[other], order[place]
    return np.array(order, np.int64)


def at_random(count: int, seed: int) -> Numbers:
    """The original's split: 80 % train and the rest validates, in the order in which they were drawn."""
    order = permutation(count, seed)
    trained = int(TRAIN_SHARE * count)
    return {"train": order[:trained], "valid": order[trained:]}


def by_regions(windows: Windows, length: int, spans: Mapping[str, Sequence[Interval]]) -> Numbers:
    """Windows that lie wholly in a region of a split, in their order; regions of a split that touch are one."""
    numbers: Numbers = {}
    for split, own in spans.items():
        regions = Intervals.of(own)
        inside = np.zeros(len(windows), bool)
        for number, chrom in enumerate(windows.chroms):
            here = np.flatnonzero(windows.chrom_id == number)
            starts, ends = regions.covered(chrom)
            before = np.searchsorted(starts, windows.start[here], "right") - 1
            if len(starts):
                inside[here] = (before >= 0) & (ends[before] >= windows.start[here] + length)
        numbers[split] = np.flatnonzero(inside)
    return numbers


def check_filled(numbers: Numbers, count: int) -> None:
    """Raises JaxepiError for a split without a window, of `count` windows."""
    empty = next((split for split, own in numbers.items() if not len(own)), None)
    if empty is not None:
        raise JaxepiError(
            f"split {empty!r} is empty: none of the {count} windows lies in it, so change --valid-chroms, "
            "--test-chroms or --regions, or use shorter windows (--seqlen)"
        )
