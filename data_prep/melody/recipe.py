"""Melody windows: base codes, and the recorded sites of every track as (position, width, value per track).

A record is lossless: expanding its sites gives the per-base matrix (L, K) that reading the BigWigs gives, NaN where
no record is. What becomes of CpGs without a record and of -1 (recorded, not covered) is decided by the task.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.build.recipe import Block, BlockResult, Feature, Recipe, Record, Tally
from data_prep.sources.genome import Genome, ambiguous_bases
from data_prep.sources.regions import Windows
from data_prep.sources.tracks import TrackReader
from jaxepi.errors import JaxepiError
from jaxepi.sequence import C, G, N, is_cpg

DYAD_MODES = ("both", "as-recorded")
VALUE_DTYPES = ("float32", "float16")
SCALES = {"fraction": 1.0, "percent": 100.0}
UNCOVERED = -1.0
LARGEST_UINT16_WINDOW = 65535
WINDOWS_PER_BLOCK = 256
# Windows further apart than this are read on their own: about what one compressed section of a BigWig spans.
_WORTH_BRIDGING = 50_000
_LONGEST_READ = 1 << 20
_BYTES_PER_BASE_AND_TRACK = 12
_MEMORY_PER_READ = 256 << 20
_KNOWN_RATIO_OF_CPG = 1 / 90


def longest_read(tracks: int, window: int) -> int:
    """Bases of one contiguous read, such that even tracks with a value at every base stay within 256 MiB a process."""
    fitting = _MEMORY_PER_READ // (_BYTES_PER_BASE_AND_TRACK * tracks)
    return max(min(_LONGEST_READ, fitting), window)


@dataclass(frozen=True)
class Sites:
    """Recorded sites of a stretch of a chromosome: offsets in it, widths 1 or 2, and values (S, K), NaN = no record."""

    position: np.ndarray  # (S,) int64, ascending
    width: np.ndarray  # (S,) uint8
    value: np.ndarray  # (S, K) float32

    def cut(self, start: int, end: int) -> "Sites":
        """The sites inside [start, end), offsets from `start`; a site across an edge loses what lies outside."""
        low, high = np.searchsorted(self.position, [start, end])
        if low > 0 and self.position[low - 1] + self.width[low - 1] > start:
            low -= 1
        first = np.maximum(self.position[low:high], start)
        last = np.minimum(self.position[low:high] + self.width[low:high], end)
        return Sites(first - start, (last - first).astype(np.uint8), self.value[low:high])

    def expand(self, length: int) -> np.ndarray:
        """The per-base matrix (length, K) float32, NaN where no record is."""
        dense = np.full((length, self.value.shape[1]), np.nan, np.float32)
        dense[self.position] = self.value
        two = self.width == 2
        dense[self.position[two] + 1] = self.value[two]
        return dense


def read_sites(
    reader: TrackReader, chrom: str, start: int, codes: np.ndarray, dyads: str, scale: str = "fraction"
) -> Sites:
    """Reads all tracks over a stretch, one after the other, and keeps the recorded bases.

    Args:
        reader: K tracks.
        chrom: chromosome.
        start: first base.
        codes: base codes (n,) of the stretch.
        dyads: `both` gives a letter of a CpG without a record the value of the other letter; `as-recorded` does not.
        scale: what the tracks hold, fraction (0 to 1) or percent (0 to 100); -1 is a CpG without coverage in both.

    Raises:
        JaxepiError: a value that is neither on the scale nor -1; the sentence names file and place.
    """
    size = len(codes)
    first = np.flatnonzero((codes[:-1] == C) & (codes[1:] == G))
    letters = np.stack([first, first + 1], axis=1).ravel()
    recorded = np.zeros(size, bool)
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for track in range(len(reader)):
        dense = reader.read(track, chrom, start, start + size)
        if dyads == "both":
            left, right = dense[first], dense[first + 1]
            dense[first] = np.where(np.isnan(left), right, left)
            dense[first + 1] = np.where(np.isnan(right), left, right)
        position = _recorded(dense, letters)
        recorded[position] = True
        values = dense[position]
        uncovered = values == UNCOVERED
        if not ((values >= 0) & (values <= SCALES[scale]) | uncovered).all():
            raise _off_scale(reader, track, chrom, start, size, scale)
        if scale == "percent":
            values = np.where(uncovered, values, values / np.float32(SCALES[scale]))
        kept.append((position.astype(np.int32), values))
    position = np.flatnonzero(recorded)
    row = np.cumsum(recorded, dtype=np.int32) - 1
    value = np.full((len(position), len(reader)), np.nan, np.float32)
    for track, (own, values) in enumerate(kept):
        value[row[own], track] = values
    return _merge_dyads(position, value, first, size)


def _off_scale(reader: TrackReader, track: int, chrom: str, start: int, size: int, scale: str) -> JaxepiError:
    """The sentence for the first value of a stretch that is not on the scale."""
    values, most = reader.read(track, chrom, start, start + size), SCALES[scale]
    allowed = np.isnan(values) | (values == UNCOVERED) | ((values >= 0) & (values <= most))
    place = int(np.flatnonzero(~allowed)[0])
    at, value = start + place, values[place]
    percent = most < value <= SCALES["percent"]
    remedy = "are these percentages? Then add --scale percent" if percent else "mend the track"
    return JaxepiError(
        f"{reader.tracks[track].path} has the value {value:g} at {chrom}:{at}-{at + 1}, where 0 to {most:g}, or -1 for "
        f"no coverage, was expected: {remedy}"
    )


def _recorded(dense: np.ndarray, letters: np.ndarray) -> np.ndarray:
    """Positions of the values in `dense` that are not NaN. Looks at the letters of CpGs first: mostly that is all."""
    known = dense == dense  # NaN differs from itself
    at_letters = letters[known[letters]]
    return at_letters if len(at_letters) == np.count_nonzero(known) else np.flatnonzero(known)


def _merge_dyads(position: np.ndarray, value: np.ndarray, first: np.ndarray, size: int) -> Sites:
    """Joins the two letters of a CpG into one site where all their values agree to the bit."""
    starts_cpg = np.zeros(size, bool)
    starts_cpg[first] = True
    left = np.flatnonzero(starts_cpg[position[:-1]] & (np.diff(position) == 1))
    bits = value.view(np.uint32)
    left = left[(bits[left] == bits[left + 1]).all(axis=1)]
    width = np.ones(len(position), np.uint8)
    width[left] = 2
    keep = np.ones(len(position), bool)
    keep[left + 1] = False
    return Sites(position[keep], width[keep], value[keep])


class MelodyRecipe(Recipe):
    """Windows of a genome with the values of K methylation tracks."""

    name = "melody"
    unit = "windows"

    def __init__(
        self,
        genome: Genome,
        reader: TrackReader,
        windows: Mapping[str, Windows],
        window: int,
        dyads: str = "both",
        value_dtype: str = "float32",
        max_n_fraction: float = 1.0,
        drop_empty: bool = False,
        scale: str = "fraction",
        placement: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Args:
        genome: base codes.
        reader: K tracks.
        windows: per split, sorted.
        window: their length L in bp.
        dyads: see `read_sites`.
        value_dtype: of `value`; float16 halves the records and rounds to 3 digits.
        max_n_fraction: windows whose share of N reaches this are left out; above 1 keeps all.
        drop_empty: leave out windows without a recorded CpG.
        scale: see `read_sites`.
        placement: counts per split of what got no window, for the manifest.
        """
        self.genome, self.reader, self.windows, self.window = genome, reader, dict(windows), window
        self.dyads, self.value_dtype = dyads, value_dtype
        self.max_n_fraction, self.drop_empty, self.scale = max_n_fraction, drop_empty, scale
        self.placement = {split: dict(counts) for split, counts in (placement or {}).items()}

    def features(self) -> dict[str, Feature]:
        position = "uint16" if self.window <= LARGEST_UINT16_WINDOW else "int32"
        return {
            "key": Feature("text", None),
            "chrom": Feature("text", None),
            "start": Feature("int64"),
            "sequence": Feature("uint8", (self.window,)),
            "position": Feature(position, (None,)),
            "width": Feature("uint8", (None,)),
            "value": Feature(self.value_dtype, (None, len(self.reader))),
            "blanked": Feature("uint8"),
        }

    def blocks(self) -> dict[str, list[Block]]:
        work: dict[str, list[Block]] = {}
        for split, windows in self.windows.items():
            edges = np.flatnonzero(np.diff(windows.chrom_id)) + 1
            blocks = work[split] = []
            for own in np.split(np.arange(len(windows)), edges):
                for first in range(0, len(own), WINDOWS_PER_BLOCK):
                    index = own[first : first + WINDOWS_PER_BLOCK]
                    payload = (windows.chroms[windows.chrom_id[index[0]]], windows.start[index], windows.blanked[index])
                    blocks.append(Block(int(index[0]), len(index), payload))
        return work

    def make_block(self, block: Block) -> BlockResult:
        chrom, starts, blanked = block.payload
        result = BlockResult([], self._empty_tally())
        self.genome.take_counts()
        for group in self._stretches(starts):
            # One base more on each side: the other letter of a CpG at the edge decides too.
            low = max(int(starts[group[0]]) - 1, 0)
            high = min(int(starts[group[-1]]) + self.window + 1, self.genome.lengths[chrom])
            codes = self.genome.codes(chrom, low, high)
            sites = read_sites(self.reader, chrom, low, codes, self.dyads, self.scale)
            for i in group:
                offset = int(starts[i]) - low
                own_codes = codes[offset : offset + self.window]
                own_sites = sites.cut(offset, offset + self.window)
                if self._count(own_codes, own_sites, result.tally):
                    record = self._record(chrom, int(starts[i]), bool(blanked[i]), own_codes, own_sites)
                    result.records.append((block.first_key + int(i), record))
        starts_kept = [record["start"] for _, record in result.records]
        result.tally.add(ambiguous_bases=ambiguous_bases(self.genome, chrom, starts_kept, self.window))
        return result

    def _stretches(self, starts: np.ndarray) -> Iterator[np.ndarray]:
        """Groups of neighbouring windows (indices into the sorted starts) that one read covers."""
        longest = longest_read(len(self.reader), self.window)
        group = [0]
        for i in range(1, len(starts)):
            gap = starts[i] - (starts[i - 1] + self.window)
            if gap > _WORTH_BRIDGING or starts[i] + self.window - starts[group[0]] > longest:
                yield np.array(group)
                group = []
            group.append(i)
        yield np.array(group)

    def _record(self, chrom: str, start: int, blanked: bool, codes: np.ndarray, sites: Sites) -> Record:
        position = np.uint16 if self.window <= LARGEST_UINT16_WINDOW else np.int32
        return {
            "key": f"{chrom}:{start}-{start + self.window}",
            "chrom": chrom,
            "start": start,
            "sequence": codes,
            "position": sites.position.astype(position),
            "width": sites.width,
            "value": sites.value.astype(self.value_dtype),
            "blanked": int(blanked),
        }

    def _empty_tally(self) -> Tally:
        per_track = np.zeros(len(self.reader), np.int64)
        tally = Tally(maxima={"max_sites": 0, "max_cpg_letters": 0})
        tally.add(records=0, cpg_letters=0, n_bases=0, left_out_n=0, left_out_empty=0)
        tally.add(cpg_letters_recordless=per_track, uncovered=per_track, values_outside_cpg=per_track)
        return tally

    def _count(self, codes: np.ndarray, sites: Sites, tally: Tally) -> bool:
        """Counts a window, and says whether it becomes a record."""
        n_bases = int(np.count_nonzero(codes == N))
        if n_bases >= self.max_n_fraction * self.window:
            tally.add(left_out_n=1)
            return False
        cpg = is_cpg(codes)
        second = sites.position + sites.width - 1
        at_cpg = cpg[sites.position].astype(np.int64) + (cpg[second] & (sites.width == 2))
        known = sites.value == sites.value
        recorded = at_cpg @ known
        if self.drop_empty and not recorded.any():
            tally.add(left_out_empty=1)
            return False
        letters = int(np.count_nonzero(cpg))
        tally.add(
            records=1,
            cpg_letters=letters,
            n_bases=n_bases,
            cpg_letters_recordless=letters - recorded,
            uncovered=at_cpg @ (sites.value == UNCOVERED),
            values_outside_cpg=(sites.width - at_cpg) @ known,
        )
        tally.raise_to(max_sites=len(sites.position), max_cpg_letters=letters)
        return True

    def manifest(self, tallies: Mapping[str, Tally]) -> dict[str, Any]:
        maxima = Tally()
        for tally in tallies.values():
            maxima.raise_to(**tally.maxima)
        return {
            "window": self.window,
            "tracks": [track.name for track in self.reader.tracks],
            "value_dtype": self.value_dtype,
            **maxima.maxima,
            "splits": {
                split: {name: np.asarray(count).tolist() for name, count in tally.sums.items()}
                | self.placement.get(split, {})
                for split, tally in tallies.items()
            },
        }

    def bytes_per_record(self) -> int:
        sites = self.window * _KNOWN_RATIO_OF_CPG
        return int(self.window + sites * (3 + len(self.reader) * np.dtype(self.value_dtype).itemsize)) + 200
