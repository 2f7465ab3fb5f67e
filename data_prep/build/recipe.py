"""The contract of one kind of dataset: what its records hold, and how a block of work becomes records and counts.

A new system is one more recipe; `dataset.py`, the runners and the builder know nothing else about it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Record = dict[str, Any]


@dataclass(frozen=True)
class Feature:
    """One entry of a record.

    `shape` None is a text, () a scalar, anything else an array stored as raw bytes, with at most one None axis, whose
    size differs between records.
    """

    dtype: str
    shape: tuple[int | None, ...] | None = ()


@dataclass(frozen=True)
class Block:
    """A piece of work done in one go: `size` candidate records with the keys first_key, first_key + 1, …"""

    first_key: int
    size: int
    payload: Any


@dataclass
class Tally:
    """Counts of a split: sums are added and maxima compared when tallies are merged; arrays hold one entry a track."""

    sums: dict[str, Any] = field(default_factory=dict)
    maxima: dict[str, int] = field(default_factory=dict)

    def add(self, **counts: Any) -> None:
        """Adds to sums; an int, or an integer array (K,)."""
        for name, count in counts.items():
            self.sums[name] = self.sums[name] + count if name in self.sums else count

    def raise_to(self, **values: int) -> None:
        """Raises maxima."""
        for name, value in values.items():
            self.maxima[name] = max(int(value), self.maxima.get(name, 0))

    def merge(self, other: "Tally") -> None:
        """Adds another tally to this one."""
        self.add(**other.sums)
        self.raise_to(**other.maxima)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return {name: np.asarray(count).tolist() for name, count in {**self.sums, **self.maxima}.items()}


@dataclass
class BlockResult:
    """Records of a block with their keys (int, ascending), and their counts."""

    records: list[tuple[int, Record]]
    tally: Tally


class Recipe(ABC):
    """One kind of dataset. Must survive pickling: blocks are made in other processes, on Beam on other machines."""

    name: str  # the system, as in the command line and the manifest
    unit: str = "records"  # what a record is called in progress lines and messages

    @abstractmethod
    def features(self) -> dict[str, Feature]:
        """What a record holds."""

    @abstractmethod
    def blocks(self) -> dict[str, list[Block]]:
        """The work, per split, in the order in which the records are written."""

    @abstractmethod
    def make_block(self, block: Block) -> BlockResult:
        """Makes the records of a block. A pure function of the recipe and the block."""

    @abstractmethod
    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        """Entries of manifest.json that belong to the system, at top level and under `splits`."""

    @abstractmethod
    def bytes_per_record(self) -> int:
        """Estimate for the disk space check."""
