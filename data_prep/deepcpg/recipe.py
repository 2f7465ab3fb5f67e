"""DeepCpG sites: for each CpG its sequence, the neighbours of every cell, the cells observed at it, and statistics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.deepcpg.sequences import Sequences, random_bases
from data_prep.deepcpg.statistics import CLASSES, class_counts, neighbour_means, over_cells, window_means
from data_prep.deepcpg.store import CellStore
from data_prep.sources.genome import ambiguous_bases
from jaxepi.genome.intervals import Intervals
from jaxepi.sequence import C, G, N

MISSING_STATE = 255
MISSING_DISTANCE = 65535
LARGEST_DISTANCE = 65534
_BLOCK_BYTES = 16 << 20
_LARGEST_BLOCK = 8192
_TRAIN = "train"


@dataclass(frozen=True)
class Statistics:
    """Which statistics over cells a dataset has.

    Attributes:
        site: of the values at the site, names of data_prep.deepcpg.statistics.STATISTICS.
        site_least: cells that must be observed for them.
        window: of the mean values in windows around the site.
        windows: lengths of these windows in bp.
        maximum: exact, or truncated as the original does for `diff`.
        window_sites: all sites that a cell has in the window, or those among its `neighbours` only, as the original.
        window_centre: exact value of the site itself, or rounded, as the original does.
    """

    site: tuple[str, ...] = ()
    site_least: int = 3
    window: tuple[str, ...] = ()
    windows: tuple[int, ...] = ()
    maximum: str = "exact"
    window_sites: str = "all"
    window_centre: str = "exact"

    @property
    def names(self) -> list[str]:
        """Output names, in the order of a record."""
        wide = [f"win_stats/{size}/{name}" for size in self.windows for name in self.window]
        return [f"cpg_stats/{name}" for name in self.site] + wide


@dataclass(frozen=True)
class Layout:
    """Sizes and treatments of the records."""

    window: int  # L in bp, odd; 0 = no sequence
    neighbours: int  # W, even; 0 = none
    max_distance: int = 25_000
    statistics: Statistics = Statistics()
    annotation_edges: str = "half-open"  # closed = the original's: the BED start counts as a 1-based position
    annotation_shores: int = 0  # bp around the regions of each annotation that form one of their own; 0 = none
    random_n: bool = False  # replace N by random bases, as the original does
    seed: int = 0  # of the random bases


def nearest(
    positions: np.ndarray, values: np.ndarray, sites: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest observed sites of a cell on both sides of each site, the site itself excluded.

    Args:
        positions: sites of the cell (M,), ascending.
        values: their methylation (M,).
        sites: (S,).
        neighbours: W, half of them left (farthest first), half right (nearest first).

    Returns:
        Methylation (S, W) float32 and distance (S, W) float64 in bp, both NaN where there is no such neighbour.
    """
    half = neighbours // 2
    left = np.searchsorted(positions, sites, "left")[:, None] + np.arange(-half, 0)
    right = np.searchsorted(positions, sites, "right")[:, None] + np.arange(half)
    index = np.concatenate([left, right], axis=1)
    there = (index >= 0) & (index < len(positions))
    if not there.any():
        return np.full(index.shape, np.nan, np.float32), np.full(index.shape, np.nan)
    index = np.where(there, index, 0)
    state = np.where(there, values[index], np.nan).astype(np.float32)
    return state, np.where(there, np.abs(positions[index].astype(np.float64) - sites[:, None]), np.nan)


def shores_of(annotation: str) -> str:
    """The name of the annotation that its surroundings form."""
    return f"{annotation}_shores"


@dataclass(frozen=True)
class SiteTable:
    """Sites of a split: per chromosome, in the order of the dataset, ascending positions (S,) int32."""

    sites: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return sum(map(len, self.sites.values()))


class DeepCpGRecipe(Recipe):
    """CpG sites of N cells."""

    name = "deepcpg"

    def __init__(
        self,
        store: CellStore,
        sequences: Sequences | None,
        splits: Mapping[str, SiteTable],
        layout: Layout,
        annotations: Mapping[str, Intervals] | None = None,
    ) -> None:
        """`sequences` None: no sequence; `layout.window` is 0 then."""
        self.store, self.sequences, self.layout = store, sequences, layout
        self.splits, self.annotations = dict(splits), dict(annotations or {})
        self.binary = store.binary
        self._drawn = self._count_n() if layout.random_n and sequences is not None else {}

    def __getstate__(self) -> dict[str, Any]:
        # A block brings its sites: those of the whole genome stay where they are.
        return self.__dict__ | {"splits": {}}

    @property
    def tracks(self) -> list[str]:
        """Every output that a model may have."""
        return [f"cpg/{cell.name}" for cell in self.store.cells] + self.layout.statistics.names

    @property
    def annotation_names(self) -> list[str]:
        """In the order of a record: all annotations, then their shores."""
        return [*self.annotations, *(shores_of(name) for name in self.annotations if self.layout.annotation_shores)]

    def features(self) -> dict[str, Feature]:
        return {
            "key": Feature("text", None),
            "chrom": Feature("text", None),
            "start": Feature("int64"),
            "sequence": Feature("uint8", (self.layout.window,)),
            "state": Feature("uint8" if self.binary else "float16", (len(self.store), self.layout.neighbours)),
            "distance": Feature("uint16", (len(self.store), self.layout.neighbours)),
            "cell": Feature("uint16", (None,)),
            "value": Feature("uint8" if self.binary else "float32", (None,)),
            "statistics": Feature("float32", (len(self.layout.statistics.names),)),
            "annotation": Feature("uint8", (len(self.annotation_names),)),
        }

    def bytes_per_record(self) -> int:
        state = 1 if self.binary else 2
        wide = len(self.store) * self.layout.neighbours * (state + 2)
        return self.layout.window + wide + 4 * len(self.layout.statistics.names) + 7 * len(self.store) + 300

    def blocks(self) -> dict[str, list[Block]]:
        size = int(np.clip(_BLOCK_BYTES // self.bytes_per_record(), 64, _LARGEST_BLOCK))
        work: dict[str, list[Block]] = {}
        for split, table in self.splits.items():
            made, first = [], 0
            for chrom, sites in table.sites.items():
                for low in range(0, len(sites), size):
                    own = sites[low : low + size]
                    made.append(Block(first, len(own), (chrom, own)))
                    first += len(own)
            work[split] = made
        return work

    def make_block(self, block: Block) -> BlockResult:
        chrom, sites = block.payload
        if self.sequences is not None:
            self.sequences.take_counts()
        sequence, not_cpg, unknown = self._sequence(chrom, sites)
        ambiguous = 0
        if self.sequences is not None:
            starts = (sites - self.layout.window // 2).tolist()
            ambiguous = ambiguous_bases(self.sequences, chrom, starts, self.layout.window)
        state, distance = self._neighbours(chrom, sites)
        values = self._values(chrom, sites)
        statistics = self._statistics(chrom, sites, values, state, distance)
        annotation = self._annotation(chrom, sites)
        stored_state, stored_distance = self._stored(state, distance)
        tally = Tally()
        tally.add(records=len(sites), n_bases=unknown, not_cpg=not_cpg)
        tally.add(ambiguous_bases=ambiguous)
        tally.add(observed=(~np.isnan(values)).sum(axis=0), classes=self._class_counts(values, statistics))
        records = []
        for i, site in enumerate(sites.tolist()):
            cell = np.flatnonzero(~np.isnan(values[i]))
            record: Record = {
                "key": f"{chrom}:{site}",
                "chrom": chrom,
                "start": site,
                "sequence": sequence[i],
                "state": stored_state[i],
                "distance": stored_distance[i],
                "cell": cell.astype(np.uint16),
                "value": values[i, cell].astype(np.uint8 if self.binary else np.float32),
                "statistics": statistics[i],
                "annotation": annotation[i],
            }
            records.append((block.first_key + i, record))
        return BlockResult(records, tally)

    def _annotation(self, chrom: str, sites: np.ndarray) -> np.ndarray:
        """Which sites lie inside each annotation, and on its shores if wanted: (S, A) uint8."""
        edges, shores = self.layout.annotation_edges, self.layout.annotation_shores
        distances = [own.distance(chrom, sites, edges) for own in self.annotations.values()]
        marks = [distance == 0 for distance in distances]
        marks += [(distance > 0) & (distance <= shores) for distance in distances if shores]
        return np.array(marks, np.uint8).reshape(-1, len(sites)).T

    def _sequence(self, chrom: str, sites: np.ndarray) -> tuple[np.ndarray, int, int]:
        """Windows (S, L) uint8, how many sites are at no CG, and the number of N."""
        window = self.layout.window
        if self.sequences is None or not window:
            return np.empty((len(sites), 0), np.uint8), 0, 0
        # One base more than the record on each side: a window of one base has no G.
        codes = self.sequences.windows(chrom, sites, window + 2)
        centre = window // 2 + 1
        not_cpg = int(((codes[:, centre] != C) | (codes[:, centre + 1] != G)).sum())
        codes = np.ascontiguousarray(codes[:, 1:-1])
        unknown = int((codes == N).sum())
        if self.layout.random_n and unknown:
            codes = random_bases(codes, self.layout.seed, self._drawn[chrom, int(sites[0])])
        return codes, not_cpg, unknown

    def _count_n(self) -> dict[tuple[str, int], int]:
        """For the first site of each block, how many N the windows before it hold, in genome order over all splits."""
        drawn, total = {}, 0
        blocks = [block.payload for own in self.blocks().values() for block in own]
        for chrom, sites in sorted(blocks, key=lambda payload: (payload[0], int(payload[1][0]))):
            drawn[chrom, int(sites[0])] = total
            total += int((self.sequences.windows(chrom, sites, self.layout.window) == N).sum())
        return drawn

    def _neighbours(self, chrom: str, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """State and distance (S, N, W), NaN = missing."""
        shape = (len(sites), len(self.store), self.layout.neighbours)
        state, distance = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        if self.layout.neighbours:
            for cell in range(len(self.store)):
                positions, values = self.store.positions(cell, chrom), self.store.values(cell, chrom)
                state[:, cell], distance[:, cell] = nearest(positions, values, sites, self.layout.neighbours)
        return state, distance

    def _stored(self, state: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """State and distance in the types of a record."""
        missing = np.isnan(state)
        capped = np.minimum(np.where(missing, 0, distance), self.layout.max_distance)
        stored = np.where(missing, MISSING_DISTANCE, capped).astype(np.uint16)
        if self.binary:
            return np.where(missing, MISSING_STATE, state).astype(np.uint8), stored
        return state.astype(np.float16), stored

    def _values(self, chrom: str, sites: np.ndarray) -> np.ndarray:
        """Methylation (S, N) float32 at the sites, NaN = not observed."""
        values = np.empty((len(sites), len(self.store)), np.float32)
        for cell in range(len(self.store)):
            values[:, cell] = self.store.at(cell, chrom, sites)
        return values

    def _statistics(
        self, chrom: str, sites: np.ndarray, values: np.ndarray, state: np.ndarray, distance: np.ndarray
    ) -> np.ndarray:
        """Statistics (S, Q) float32."""
        wanted = self.layout.statistics
        made = [over_cells(values, wanted.site, wanted.site_least, wanted.maximum)]
        centre = np.rint(values) if wanted.window_centre == "rounded" else values
        if wanted.window_sites == "neighbours":
            # The original holds neighbours in half precision.
            state = np.concatenate([state.astype(np.float16).astype(np.float32), centre[:, :, None]], axis=2)
            distance = np.concatenate([distance, np.zeros((*centre.shape, 1), np.float32)], axis=2)
        for size in wanted.windows if wanted.window else ():
            if wanted.window_sites == "neighbours":
                means = neighbour_means(state, distance, size)
            else:
                means = self._window_means(chrom, sites, values, centre, size)
            made.append(over_cells(means, wanted.window, 0, wanted.maximum))
        return np.concatenate(made, axis=1)

    def _window_means(
        self, chrom: str, sites: np.ndarray, values: np.ndarray, centre: np.ndarray, window: int
    ) -> np.ndarray:
        """Mean methylation (S, N) of every cell in windows around the sites."""
        means = np.empty(values.shape)
        for cell in range(len(self.store)):
            low, high = int(sites[0]) - window // 2, int(sites[-1]) + window // 2 + 1
            positions, own = self.store.between(cell, chrom, low, high)
            sums = np.concatenate([[0.0], np.cumsum(own, dtype=np.float64)])
            means[:, cell] = window_means(positions, sums, sites, window)
            if centre is not values:
                count = np.searchsorted(positions, sites + window // 2, "right")
                count = count - np.searchsorted(positions, sites - window // 2, "left")
                shift = np.where(np.isnan(values[:, cell]), 0.0, centre[:, cell] - values[:, cell])
                means[:, cell] += shift / np.maximum(count, 1)
        return means

    def _class_counts(self, values: np.ndarray, statistics: np.ndarray) -> np.ndarray:
        """How often each class occurs in each output, (K, 3) int64; 0 for continuous outputs."""
        counts = [class_counts(values[:, cell], 2) for cell in range(len(self.store))]
        for i, name in enumerate(self.layout.statistics.names):
            classes = CLASSES.get(name.split("/")[-1], 0)
            counts.append(class_counts(statistics[:, i], classes) if classes else np.zeros(3, np.int64))
        return np.array(counts, np.int64).reshape(-1, 3)

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        splits = {}
        for split, tally in tallies.items():
            counts = tally.to_json()
            del counts["classes"]
            splits[split] = counts
        counted = np.asarray(tallies[_TRAIN].sums["classes"]).tolist() if _TRAIN in tallies else []
        classes = [2] * len(self.store) + [CLASSES.get(n.split("/")[-1], 0) for n in self.layout.statistics.names]
        named = zip(self.tracks, classes, counted, strict=False)
        return {
            "window": self.layout.window,
            "neighbours": self.layout.neighbours,
            "max_distance": self.layout.max_distance,
            "cells": [cell.name for cell in self.store.cells],
            "binary_cells": [cell.binary for cell in self.store.cells],
            "statistics": self.layout.statistics.names,
            "annotations": self.annotation_names,
            "tracks": self.tracks,
            "class_counts": {name: own[:size] for name, size, own in named if size},
            "random_n": self.layout.random_n,
            "splits": splits,
        }
