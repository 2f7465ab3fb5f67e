"""Records of binned coverage: base codes of a window, and the bins of every track in its middle."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.coverage.aggregate import BinStore, track_counts
from data_prep.coverage.original_folder import Around
from data_prep.coverage.sequences import Sequences
from data_prep.coverage.splits import Contigs
from data_prep.coverage.targets import TargetTable
from data_prep.sources.genome import Genome, ambiguous_bases
from data_prep.sources.peak_bins import PeakLabels
from data_prep.sources.per_base import PerBaseTrack
from jaxepi.errors import JaxepiError
from jaxepi.sequence import N

_BLOCK_BYTES = 64 << 20
_MOST_WINDOWS = 256
_TEXT_BYTES = 200  # of a record: its key and framing


@dataclass(frozen=True)
class Writing:
    """What happens to bins when records are made.

    Attributes:
        crop: bp of sequence on each side of what the bins cover.
        bin_width: bp.
        decimals: bins are rounded to so many; None = as they are.
        umap_clip: unmappable bins are at most this quantile of the bins of their window and track; 1 = as they are.
        keep_mask: records tell which bins are unmappable.
        narrow: quantiles are taken in float16, as in the original.
        missing: what bases without a record counted as; `nan`: a bin with one is NaN.
    """

    crop: int
    bin_width: int
    decimals: int | None = None
    umap_clip: float = 1.0
    keep_mask: bool = False
    narrow: bool = False
    missing: str = "zero"


@dataclass(frozen=True)
class Beside:
    """What records hold beside sequence and bins, and what their manifest tells further.

    Attributes:
        conservation: a score a base of the window.
        peaks: labels of the bins.
        told: entries of the manifest.
    """

    conservation: PerBaseTrack | None = None
    peaks: PeakLabels | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def coverage_features(
    window: int, bins: int, tracks: int, *, unmappable: bool = False, conservation: bool = False, label: bool = False
) -> dict[str, Feature]:
    """What a record holds; the last three are options of a dataset."""
    further = {
        "unmappable": (unmappable, Feature("uint8", (bins,))),
        "conservation": (conservation, Feature("float16", (window,))),
        "label": (label, Feature("uint8", (bins, tracks))),
    }
    return {
        "key": Feature("text", None),
        "chrom": Feature("text", None),
        "start": Feature("int64"),
        "sequence": Feature("uint8", (window,)),
        "target": Feature("float16", (bins, tracks)),
        **{name: feature for name, (there, feature) in further.items() if there},
    }


def beside_entries(conservation: bool, labels: bool, missing: str) -> dict[str, Any]:
    """Entries of the manifest on what records hold further, and on bases of tracks without a record.

    They are alike for datasets of several genomes, so that one run can read them; counts are told by split.
    """
    return {"conservation": {"missing": 0.0} if conservation else None, "labels": labels, "missing": missing}


class CoverageRecipe(Recipe):
    """Windows of a genome with T bins of K tracks."""

    name = "coverage"
    unit = "windows"

    def __init__(
        self,
        genome: Genome,
        store: BinStore,
        sequences: Sequences,
        writing: Writing,
        table: TargetTable,
        contigs: Contigs,
        unmappable: np.ndarray | None = None,
        left_out: Mapping[str, int] | None = None,
        beside: Beside = Beside(),
    ) -> None:
        """Args:
        genome: base codes.
        store: bins.
        sequences: N windows.
        writing: what happens to the bins.
        table: K tracks.
        contigs: of each split, for the manifest.
        unmappable: (N, T) bool, if it is known.
        left_out: windows of each split that were too little mappable.
        beside: conservation and labels.
        """
        self.genome, self.store, self.sequences, self.writing = genome, store, sequences, writing
        self.table, self.contigs, self.unmappable = table, contigs, unmappable
        self.left_out, self.beside = dict(left_out or {}), beside
        self.window = sequences.length + 2 * writing.crop

    @property
    def bins(self) -> int:
        """T."""
        return self.store.bins

    def features(self) -> dict[str, Feature]:
        return coverage_features(
            self.window,
            self.bins,
            len(self.table.targets),
            unmappable=self.writing.keep_mask,
            conservation=self.beside.conservation is not None,
            label=self.beside.peaks is not None,
        )

    def blocks(self) -> dict[str, list[Block]]:
        size = min(max(_BLOCK_BYTES // self.bytes_per_record(), 1), _MOST_WINDOWS)
        return self.slices(size)

    def slices(self, size: int) -> dict[str, list[Block]]:
        """Blocks of `size` windows (the last of a split may have fewer); the payload is the number of the first one."""
        work: dict[str, list[Block]] = {}
        begin = 0
        for split, count in self.sequences.counts().items():
            work[split] = [
                Block(first, min(size, count - first), begin + first) for first in range(0, count, size)
            ]  # fmt: skip
            begin += count
        return work

    def make_block(self, block: Block) -> BlockResult:
        tally = Tally()
        tally.add(records=0, n_bases=0, ambiguous_bases=0, unmappable_bins=0)
        records = list(self.records(block, tally))
        return BlockResult([(block.first_key + i, record) for i, record in enumerate(records)], tally)

    def records(self, block: Block, tally: Tally) -> Iterator[Record]:
        """The records of a block, some at a time; counts them."""
        sequences, crop = self.sequences, self.writing.crop
        per_read = min(max(_BLOCK_BYTES // self.bytes_per_record(), 1), _MOST_WINDOWS)
        for first in range(block.payload, block.payload + block.size, per_read):
            count = min(per_read, block.payload + block.size - first)
            mask = None if self.unmappable is None else self.unmappable[first : first + count]
            targets = self._finished(self.store.read(first, count), mask)
            for i in range(count):
                chrom = sequences.chroms[sequences.chrom_id[first + i]]
                start = int(sequences.start[first + i]) - crop
                self.genome.take_counts()
                codes = self.genome.codes(chrom, start, start + self.window)
                tally.add(records=1, n_bases=int(np.count_nonzero(codes == N)))
                tally.add(ambiguous_bases=ambiguous_bases(self.genome, chrom, [start], self.window))
                record = {
                    "key": f"{chrom}:{start}-{start + self.window}",
                    "chrom": chrom,
                    "start": start,
                    "sequence": codes,
                    "target": targets[i],
                }
                if mask is not None:
                    tally.add(unmappable_bins=int(mask[i].sum()))
                if mask is not None and self.writing.keep_mask:
                    record["unmappable"] = mask[i].astype(np.uint8)
                yield record | self._beside(chrom, start, tally)

    def _beside(self, chrom: str, start: int, tally: Tally) -> Record:
        """Conservation and labels of the window that begins at `start`; counts them."""
        record: Record = {}
        if self.beside.conservation is not None:
            record["conservation"], counts = self.beside.conservation.read(chrom, start, start + self.window)
            tally.add(**{f"conservation_{name}": count for name, count in counts.items()})
        if self.beside.peaks is not None:
            writing = self.writing
            label = self.beside.peaks.labels(chrom, start + writing.crop, self.bins, writing.bin_width)
            tally.add(bins_labelled=label.sum(axis=0, dtype=np.int64))
            record["label"] = label
        return record

    def _finished(self, targets: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Bins (n, T, K) float16 rounded and, where unmappable (n, T), limited."""
        if self.writing.decimals is not None:
            with np.errstate(over="ignore"):
                targets = np.around(targets.astype(np.float32), self.writing.decimals).astype(np.float16)
        if mask is not None and self.writing.umap_clip < 1:
            for own, unmappable in zip(targets, mask, strict=True):
                if unmappable.any():
                    values = own if self.writing.narrow else own.astype(np.float32)
                    limit = np.percentile(values, 100 * self.writing.umap_clip, axis=0).astype(np.float16)
                    own[unmappable] = np.minimum(own[unmappable], limit)
        if np.isinf(targets).any():
            track = int(np.flatnonzero(np.isinf(targets).any(axis=(0, 1)))[0])
            raise JaxepiError(
                f"bins of {self.table.targets[track].path} do not fit into float16 (at most 65,504): give the track a "
                "clip or a smaller scale in the table"
            )
        return targets

    def sizes(self) -> dict[str, Any]:
        """Entries of the manifest that tell the shapes of records and the names of tracks."""
        return {
            "window": self.window,
            "bins": self.bins,
            "bin_width": self.writing.bin_width,
            "crop": self.writing.crop,
            "tracks": [target.name for target in self.table.targets],
        }

    def around(self) -> Around:
        """What lies beside the records in the original's folder."""
        return Around(self.table.text(), self.contigs, self.unmappable, self.left_out)

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        targets = self.table.targets
        splits = {split: tally.to_json() for split, tally in tallies.items()}
        for number, split in enumerate(self.sequences.splits):
            splits[split] |= {"left_out_unmappable": self.left_out.get(split, 0)} | dict(
                track_counts(self.store, number)
            )
        return {
            **self.sizes(),
            "track_descriptions": [target.description for target in targets],
            "strand_pair": [target.strand_pair for target in targets],
            "unmappable": self.writing.keep_mask,
            **beside_entries(
                self.beside.conservation is not None, self.beside.peaks is not None, self.writing.missing
            ),
            **self.beside.told,
            "targets_table": [list(cells) for cells in (self.table.columns, *self.table.cells)],
            "contigs": {
                split: [[c.chrom, c.start, c.end] for c in own] for split, own in self.contigs.items()
            },
            "splits": splits,
        }  # fmt: skip

    def bytes_per_record(self) -> int:
        bases = self.window * (1 + 2 * (self.beside.conservation is not None))
        values = self.bins * len(self.table.targets) * (2 + (self.beside.peaks is not None))
        return bases + values + self.bins * self.writing.keep_mask + _TEXT_BYTES
