"""Intervals of a chromosome: how they join and grow, and which sites lie in them or how far away.

0-based half-open, as in BED. Letters: I intervals, M joined ones, S sites.
"""

from collections.abc import Mapping, Sequence

import numpy as np

EDGE_MODES = ("half-open", "closed")


def joined(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins intervals (I,) that overlap or touch.

    Returns:
        Starts and ends (M,) int64 of what they cover, ascending, and the number (I,) of the joined interval that each
        of the given ones is part of.
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    order = np.argsort(starts, kind="stable")
    reach = np.maximum.accumulate(ends[order])
    opens = np.ones(len(order), bool)
    opens[1:] = starts[order][1:] > reach[:-1]
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(opens) - 1
    closes = np.append(opens[1:], True)[: len(order)]
    return starts[order][opens], reach[closes], group


def extended(starts: np.ndarray, ends: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (I,) of at least `least` bp: shorter ones grow on both sides, by one base more at their end if need be.

    An interval does not grow beyond the first base of its chromosome.
    """
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    missing = np.maximum(least - (ends - starts), 0)
    left = missing // 2
    return np.maximum(starts - left, 0), ends + (missing - left)


class Intervals:
    """The intervals of an annotation over a genome, joined, for sites to lie in or near."""

    def __init__(self, spans: Mapping[str, Sequence[tuple[int, int]]], least: int = 0) -> None:
        """Args:
        spans: per chromosome (start, end), in any order.
        least: bp that shorter ones are extended to, see `extended`.
        """
        self._joined: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for chrom, own in spans.items():
            starts, ends = np.array(own, np.int64).reshape(-1, 2).T
            self._joined[chrom] = joined(*extended(starts, ends, least))[:2]

    def distance(self, chrom: str, sites: np.ndarray, edges: str = "half-open") -> np.ndarray:
        """Distance (S,) float64 in bp from 0-based sites (S,) to the nearest interval: 0 inside, infinite without one.

        With `edges="closed"`, as in the original DeepCpG, 1-based positions are compared with the BED numbers, ends
        included: the base before an interval counts as inside.
        """
        starts, ends = self._joined.get(chrom, (np.empty(0), np.empty(0)))
        closed = edges == "closed"
        sites = np.asarray(sites, np.int64) + closed
        after = np.searchsorted(starts, sites, "right")
        last = np.concatenate([[-np.inf], ends - (not closed)])[after]  # last base of the interval that begins before
        following = np.concatenate([starts, [np.inf]])[after]
        return np.maximum(np.minimum(sites - last, following - sites), 0.0)

    def holds(self, chrom: str, sites: np.ndarray, edges: str = "half-open") -> np.ndarray:
        """Which of the sites (S,) lie inside, bool (S,); see `distance`."""
        return self.distance(chrom, sites, edges) == 0
