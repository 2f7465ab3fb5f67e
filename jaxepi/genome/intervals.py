"""Intervals of chromosomes: one of them (`Interval`), and many as columns (`Intervals`).

Both are 0-based and half-open, as BED and as the keys of records, and so is their text: `chr1:0-2000` are the first
2,000 bp of chr1. (A genome browser counts from 1 and writes the same bases chr1:1-2,000.) Thousands separators are read
and never written. Letters: I intervals, M joined ones, S sites.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

EDGE_MODES = ("half-open", "closed")
_TEXT = re.compile(r"(\S+):([0-9][0-9,]*)-([0-9][0-9,]*)")
LONGEST = 1 << 40  # bp; more is no position of any genome


class Interval(NamedTuple):
    """A stretch of a chromosome, 0-based half-open; its text is `chrom:start-end`."""

    chrom: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"

    @property
    def length(self) -> int:
        """bp."""
        return self.end - self.start


def parse_interval(text: str) -> Interval:
    """`chrom:start-end`, such as `chr1:10,000-12,000`, as an Interval.

    Raises:
        ValueError: if it is none or is empty.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is not None:
        start, end = (int(digits.replace(",", "")) for digits in match.groups()[1:])
        if start < end <= LONGEST:
            return Interval(match[1], start, end)
    raise ValueError(f"{text!r} is no region chrom:start-end (0-based, start below end)")


def parse_position(text: str) -> int:
    """A position, or a length in bp, as tables hold it: digits only.

    Raises:
        ValueError: if it is none, or beyond any chromosome.
    """
    if not (text.isascii() and text.isdigit()) or (position := int(text)) > LONGEST:
        raise ValueError(f"{text[:40]!r} should be a whole number from 0")
    return position


def make_interval(chrom: str, start: str, end: str) -> Interval:
    """An Interval from the cells of a table.

    Raises:
        ValueError: a cell that is no number, no name, or an interval that is empty; the text says which.
    """
    for cell in (start, end):
        if not (cell.removeprefix("-").isascii() and cell.removeprefix("-").isdigit()):
            raise ValueError(f"{start!r} and {end!r} should be whole numbers, start and end")
    if not chrom or not 0 <= int(start) < int(end) <= LONGEST:
        raise ValueError(f"{chrom}:{start}-{end} is no interval: a name and 0 <= start < end were expected")
    return Interval(chrom, int(start), int(end))


def joined(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins intervals (I,) of one chromosome that overlap or touch.

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


@dataclass(frozen=True, eq=False)
class Intervals:
    """Many intervals as columns, in any order: the i-th is `chroms[chrom_id[i]]`, `start[i]` to `end[i]`."""

    chroms: tuple[str, ...]
    chrom_id: np.ndarray  # (I,) int32
    start: np.ndarray  # (I,) int64
    end: np.ndarray  # (I,) int64

    @classmethod
    def of(cls, intervals: Iterable[tuple[str, int, int]], chroms: Sequence[str] = ()) -> "Intervals":
        """Columns from single intervals; `chroms` come first in the list of names, others as they appear."""
        names = {name: i for i, name in enumerate(chroms)}
        rows = [(names.setdefault(chrom, len(names)), start, end) for chrom, start, end in intervals]
        chrom_id, start, end = np.array(rows, np.int64).reshape(-1, 3).T
        return cls(tuple(names), chrom_id.astype(np.int32), start, end)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, i: int) -> Interval:
        return Interval(self.chroms[self.chrom_id[i]], int(self.start[i]), int(self.end[i]))

    def __iter__(self) -> Iterator[Interval]:
        return (self[i] for i in range(len(self)))

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the chromosomes that have an interval."""
        return tuple(self.chroms[i] for i in np.unique(self.chrom_id))

    def extended(self, least: int) -> "Intervals":
        """Intervals of at least `least` bp; see the function `extended`."""
        return Intervals(self.chroms, self.chrom_id, *extended(self.start, self.end, least))

    @cached_property
    def _joined(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Chromosome -> starts and ends (M,) of what the intervals cover, ascending and apart."""
        masks = ((name, self.chrom_id == i) for i, name in enumerate(self.chroms))
        return {name: joined(self.start[own], self.end[own])[:2] for name, own in masks if own.any()}

    def covered(self, chrom: str) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends (M,) int64 of what the intervals cover of a chromosome, ascending and apart."""
        return self._joined.get(chrom, (np.empty(0, np.int64), np.empty(0, np.int64)))

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

    def touches(self, chrom: str, start: np.ndarray, length: int) -> np.ndarray:
        """Which of the windows (S,) [start, start + length) share a base with an interval: bool (S,)."""
        if chrom not in self._joined:
            return np.zeros(len(start), bool)
        starts, ends = self._joined[chrom]
        before = np.searchsorted(starts, np.asarray(start) + length, side="left") - 1
        return (before >= 0) & (ends[before] > start)
