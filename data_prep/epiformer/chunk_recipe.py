"""Records of kind coverage from the original's chunk files."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.coverage.recipe import beside_entries, coverage_features
from data_prep.coverage.targets import Target, TargetTable
from data_prep.coverage.transforms import LARGEST
from data_prep.epiformer.chunk_files import ChunkFile, ChunkReader, Rows, numbered
from data_prep.epiformer.splits import Numbers
from jaxepi.sequence import N

_BLOCK_BYTES = 16 << 20
_BRIDGED = 16  # windows between two that are read rather than skipped: HDF5 unpacks some together
_TEXT_BYTES = 200  # of a record: its key and framing


class ChunkRecipe(Recipe):
    """Windows of chunk files; safe to pickle."""

    name = "coverage"
    unit = "windows"

    def __init__(
        self,
        chunks: Sequence[ChunkFile],
        numbers: Numbers,
        tracks: Sequence[str],
        table: TargetTable | None,
        missing: str,
        told: Mapping[str, Any],
    ) -> None:
        """Args:
        chunks: the files; windows are numbered through all of them.
        numbers: of the windows of each split.
        tracks: names.
        table: of the tracks, if it is known.
        missing: `nan` keeps bins without a number, `zero` makes them 0.
        told: further entries of the manifest.
        """
        self.chunks, self.numbers, self.tracks = tuple(chunks), numbers, tuple(tracks)
        self.table, self.missing, self.told = table, missing, dict(told)
        self.labelled = any(chunk.labelled for chunk in chunks)
        self._places = np.array(list(numbered(chunks)), np.int64)  # (N, 2)
        self._open: dict[int, ChunkReader] = {}
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_pid": -1}

    def features(self) -> dict[str, Feature]:
        chunk = self.chunks[0]
        return coverage_features(chunk.length, chunk.bins, chunk.tracks, conservation=True, label=self.labelled)

    def blocks(self) -> dict[str, list[Block]]:
        chunk = self.chunks[0]
        size = max(_BLOCK_BYTES // (8 * (chunk.length + chunk.tracks * chunk.bins)), 1)
        return {
            split: [
                Block(first, min(size, len(own) - first), own[first : first + size])
                for first in range(0, len(own), size)
            ]
            for split, own in self.numbers.items()
        }

    def make_block(self, block: Block) -> BlockResult:
        tally = Tally()
        tally.add(records=0, n_bases=0, ambiguous_bases=0, conservation_outside=0)
        return BlockResult(list(enumerate(self._records(block.payload, tally), block.first_key)), tally)

    def _records(self, numbers: np.ndarray, tally: Tally) -> Iterator[Record]:
        """The windows of these ascending numbers; those of a file that lie near each other are read at once."""
        places = self._places[numbers]
        apart = (np.diff(places[:, 1]) > _BRIDGED) | (np.diff(places[:, 0]) != 0)
        for run in np.split(places, np.flatnonzero(apart) + 1):
            file, first = run[0].tolist()
            chunk = self.chunks[file]
            rows = self._reader(file).read(first, int(run[-1, 1]) + 1 - first, chunk.length).take(run[:, 1] - first)
            target, label = self._target(rows, tally), rows.label
            tally.add(n_bases=int(np.count_nonzero(rows.codes == N)), ambiguous_bases=int(rows.ambiguous.sum()))
            tally.add(conservation_outside=int(rows.outside.sum()), records=len(run))
            if self.labelled and label is None:  # the original leaves them out of files in which all are 0
                label = np.zeros(target.shape, np.uint8)
            if self.labelled:
                tally.add(bins_labelled=label.sum(axis=(0, 1), dtype=np.int64))
            for row, number in enumerate(run[:, 1].tolist()):
                place = chunk.places[number]
                record = {
                    "key": str(place),
                    "chrom": place.chrom,
                    "start": place.start,
                    "sequence": rows.codes[row],
                    "target": target[row],
                    "conservation": rows.conservation[row],
                }
                yield record | ({"label": label[row]} if self.labelled else {})

    def _target(self, rows: Rows, tally: Tally) -> np.ndarray:
        """Bins (n, T, K) float16; counts them."""
        missing = np.isnan(rows.value)
        values = np.where(missing, 0.0, rows.value)
        bins = np.clip(values, -LARGEST, LARGEST).astype(np.float16)
        counts = {"missing": missing, "beyond_float16": np.abs(values) > LARGEST, "nonzero": bins != 0}
        tally.add(**{f"bins_{name}": found.sum(axis=(0, 1), dtype=np.int64) for name, found in counts.items()})
        return np.where(missing, np.float16(np.nan), bins) if self.missing == "nan" else bins

    def _reader(self, file: int) -> ChunkReader:
        """The open file of a number; files are opened once in each process."""
        if self._pid != os.getpid():
            self._open, self._pid = {}, os.getpid()
        if file not in self._open:
            self._open[file] = ChunkReader(self.chunks[file].path)
        return self._open[file]

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        chunk, table = self.chunks[0], self.table
        targets = table.targets if table is not None else [Target(name, chunk.path) for name in self.tracks]
        return {
            "window": chunk.length,
            "bins": chunk.bins,
            "bin_width": chunk.length // chunk.bins,
            "crop": 0,
            "tracks": list(self.tracks),
            "track_descriptions": [target.description for target in targets],
            "strand_pair": [
                target.strand_pair if table is not None else number for number, target in enumerate(targets)
            ],
            "unmappable": False,
            **beside_entries(True, self.labelled, self.missing),
            **self.told,
            "splits": {split: tally.to_json() for split, tally in tallies.items()},
        }

    def bytes_per_record(self) -> int:
        chunk = self.chunks[0]
        return 3 * chunk.length + (2 + self.labelled) * chunk.bins * chunk.tracks + _TEXT_BYTES
