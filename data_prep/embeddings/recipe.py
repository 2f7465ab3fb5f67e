"""Records of embeddings: what a trunk made of a window, and the labels of its bins or of the whole window."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Tally
from data_prep.labels.folder import Labels
from jaxepi.errors import JaxepiError
from jaxepi.genome.window_table import Regions

ROWS_PER_BLOCK = 16
_BFLOAT16_EXPONENT = 0x7F80  # all of it is set in infinities and NaN


class EmbeddingRecipe(Recipe):
    """Rows of embeddings and labels, with their windows.

    Letters: N rows, T bins, C channels, K tracks.
    """

    name = "embeddings"
    unit = "windows"

    def __init__(
        self,
        embeddings: Any,
        labels: Labels,
        regions: Regions,
        splits: Mapping[str, np.ndarray],
        about: Mapping[str, Any],
        drop_missing: bool = False,
    ) -> None:
        """Args:
        embeddings: `jaxepi.data.array_folder.Embeddings`, N of them.
        labels: of the same N windows.
        regions: these windows.
        splits: name -> rows, ascending.
        about: entries of the manifest.
        drop_missing: leave out windows in which a track has no label at all.
        """
        self.embeddings, self.labels, self.regions = embeddings, labels, regions
        self.splits, self.about, self.drop_missing = dict(splits), dict(about), drop_missing

    def features(self) -> dict[str, Feature]:
        stored = {"bfloat16": "uint16"}.get(self.embeddings.dtype, self.embeddings.dtype)
        return {
            "key": Feature("text", None),
            "chrom": Feature("text", None),
            "start": Feature("int64"),
            "embedding": Feature(stored, self.embeddings.shape[1:]),
            "target": Feature("float32", self.labels.shape[1:]),
        }

    def blocks(self) -> dict[str, list[Block]]:
        work: dict[str, list[Block]] = {}
        for split, rows in self.splits.items():
            # rows that follow each other are read at once
            runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1)
            work[split] = [
                Block(int(run[low]), len(run[low : low + ROWS_PER_BLOCK]), int(rows[run[low]]))
                for run in runs
                for low in range(0, len(run), ROWS_PER_BLOCK)
            ]
        return work

    def make_block(self, block: Block) -> BlockResult:
        low = block.payload
        embeddings = self.embeddings.rows(low, low + block.size)
        targets = self.labels.rows(low, low + block.size)
        self._check(embeddings, targets, low)
        missing = np.isnan(targets)
        without = missing.all(1).any(1)  # windows in which a track has no label
        kept = ~without if self.drop_missing else np.ones(block.size, bool)
        tally = Tally()
        tally.add(
            records=int(kept.sum()),
            left_out_missing=int((~kept).sum()),
            missing=missing[kept].sum((0, 1)),
            records_missing_a_track=int((without & kept).sum()),
        )
        records = [
            (block.first_key + int(place), self._record(low + int(place), embeddings[place], targets[place]))
            for place in np.flatnonzero(kept)
        ]
        return BlockResult(records, tally)

    def _record(self, row: int, embedding: np.ndarray, target: np.ndarray) -> dict[str, Any]:
        return {
            "key": self.regions.shown(row),
            "chrom": self.regions.chrom[row],
            "start": int(self.regions.start[row]),
            "embedding": np.ascontiguousarray(embedding),
            "target": np.ascontiguousarray(target),
        }

    def _check(self, embeddings: np.ndarray, targets: np.ndarray, low: int) -> None:
        """Raises JaxepiError for embeddings that are not finite, and labels that are infinite."""
        if embeddings.dtype == np.uint16:
            bad = (embeddings & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT
        else:
            bad = ~np.isfinite(embeddings)
        for source, wrong, what in (
            (self.embeddings.path, bad, "NaN or infinite: finite numbers were expected, so embed again"),
            (self.labels.source, np.isinf(targets), "infinite: finite numbers, or NaN for none, were expected"),
        ):
            if wrong.any():
                row = low + int(np.flatnonzero(wrong.any((1, 2)))[0])
                raise JaxepiError(f"{source} row {row} ({self.regions.shown(row)}) has numbers that are {what}")

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        return {**self.about, "splits": {split: tally.to_json() for split, tally in tallies.items()}}

    def bytes_per_record(self) -> int:
        size = np.dtype(self.features()["embedding"].dtype).itemsize
        return int(np.prod(self.embeddings.shape[1:])) * size + 4 * int(np.prod(self.labels.shape[1:])) + 200
