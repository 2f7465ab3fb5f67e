"""All profiles of a dataset on disk as arrays, read once, then mapped into the memory of every process as needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.build.recipe import Block
from data_prep.build.runner import block_map
from data_prep.deepcpg.profiles import Profile, Reading, cell_name, read_profile
from data_prep.deepcpg.sequences import Sequences
from jaxepi.errors import JaxepiError

_SEGMENT = 16 << 20  # bp of a chromosome that are counted at once
_LAST = 2**31 - 1
_WORTH_PROCESSES = 4 << 20  # bytes of profiles


@dataclass(frozen=True)
class Cell:
    """A cell: its name, the file it came from, whether its values are all 0 or 1, and per chromosome its rows."""

    name: str
    path: Path
    binary: bool
    rows: Mapping[str, tuple[int, int]]  # chromosome -> first and last (exclusive) row of its arrays


class CellStore:
    """Positions and values of N cells, in order of their names; safe to pickle.

    Attributes:
        cells: N descriptions.
    """

    def __init__(self, folder: Path, cells: Sequence[Cell]) -> None:
        self.folder, self.cells = folder, tuple(cells)
        self._open: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_open": {}}

    @property
    def binary(self) -> bool:
        """Whether all cells have values 0 and 1 only."""
        return all(cell.binary for cell in self.cells)

    def chromosomes(self) -> list[str]:
        """All chromosomes with a site, sorted by name."""
        return sorted({chrom for cell in self.cells for chrom, (low, high) in cell.rows.items() if high > low})

    def positions(self, cell: int, chrom: str) -> np.ndarray:
        """Sites (M,) int32 of a cell, ascending."""
        return self._part(cell, chrom, "positions")

    def values(self, cell: int, chrom: str) -> np.ndarray:
        """Their methylation (M,) float32."""
        return self._part(cell, chrom, "values")

    def between(self, cell: int, chrom: str, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Sites and values of a cell in [start, end)."""
        positions = self.positions(cell, chrom)
        # Of the same type: NumPy would copy the whole array otherwise.
        low, high = np.searchsorted(positions, np.array([max(start, 0), min(end, _LAST)], np.int32))
        return positions[low:high], self.values(cell, chrom)[low:high]

    def _part(self, cell: int, chrom: str, what: str) -> np.ndarray:
        low, high = self.cells[cell].rows.get(chrom, (0, 0))
        if low == high:
            return np.empty(0, np.int32 if what == "positions" else np.float32)
        name = f"{cell}.{what}.npy"
        if name not in self._open:
            self._open[name] = np.load(self.folder / name, mmap_mode="r")
        return np.asarray(self._open[name][low:high])

    def at(self, cell: int, chrom: str, sites: np.ndarray) -> np.ndarray:
        """Methylation (S,) float32 of a cell at sites, NaN where it was not observed."""
        positions = self.positions(cell, chrom)
        found = np.full(len(sites), np.nan, np.float32)
        if len(positions):
            place = np.minimum(np.searchsorted(positions, sites), len(positions) - 1)
            hit = positions[place] == sites
            found[hit] = self.values(cell, chrom)[place[hit]]
        return found

    def sites(self, chrom: str, least: int) -> np.ndarray:
        """Sites (S,) int32 of a chromosome that were observed in at least `least` cells (1 or more), ascending."""
        own = [self.positions(cell, chrom) for cell in range(len(self))]
        end = max((int(p[-1]) + 1 for p in own if len(p)), default=0)
        found = [np.empty(0, np.int32)]
        for start in range(0, end, _SEGMENT):
            count = np.zeros(min(_SEGMENT, end - start), np.uint16)
            for positions in own:
                edges = np.array([start, min(start + _SEGMENT, _LAST)], np.int32)
                low, high = np.searchsorted(positions, edges)
                count[positions[low:high] - start] += 1
            found.append((np.flatnonzero(count >= max(least, 1)) + start).astype(np.int32))
        return np.concatenate(found)

    def covered(self, chrom: str, sites: np.ndarray, least: int) -> np.ndarray:
        """Which of the sites (S,) were observed in at least `least` cells: bool (S,)."""
        count = np.zeros(len(sites), np.int64)
        for cell in range(len(self)):
            count += ~np.isnan(self.at(cell, chrom, sites))
        return count >= least


class _ReadCells:
    """Reads profiles in other processes: to the runner, each file is a block."""

    def __init__(self, folder: Path, paths: Sequence[Path], reading: Reading, sequences: Sequences | None) -> None:
        self.folder, self.paths, self.reading, self.sequences = folder, tuple(paths), reading, sequences

    def blocks(self) -> list[Block]:
        return [Block(number, 1, path) for number, path in enumerate(self.paths)]

    def make_block(self, block: Block) -> Cell:
        lengths = None if self.sequences is None else self.sequences.lengths
        codes = None if self.sequences is None else self.sequences.codes
        profile = read_profile(block.payload, self.reading, lengths, codes)
        return save_profile(self.folder, block.first_key, block.payload, profile)


def save_profile(folder: Path, number: int, path: Path, profile: Profile) -> Cell:
    """Writes a profile as cell `number` of the store in `folder`."""
    rows, low = {}, 0
    for chrom, positions in profile.positions.items():
        rows[chrom] = (low, low + len(positions))
        low += len(positions)
    np.save(folder / f"{number}.positions.npy", np.concatenate([np.empty(0, np.int32), *profile.positions.values()]))
    np.save(folder / f"{number}.values.npy", np.concatenate([np.empty(0, np.float32), *profile.values.values()]))
    return Cell(cell_name(path), path, profile.binary, rows)


def read_cells(
    folder: Path, paths: Sequence[Path], reading: Reading, sequences: Sequences | None, processes: int, progress: bool
) -> CellStore:
    """Reads all profiles into a store in `folder`, cells in order of their names.

    Raises:
        JaxepiError: a profile that cannot be read, or two of one name.
    """
    from tqdm import tqdm

    paths = sorted(paths, key=cell_name)
    for first, second in zip(paths[:-1], paths[1:], strict=True):
        if cell_name(first) == cell_name(second):
            raise JaxepiError(
                f"{first} and {second} are both called {cell_name(first)!r}: a cell is called as its file up to the "
                "first dot, so rename one of them"
            )
    if sum(path.stat().st_size for path in paths) < _WORTH_PROCESSES:
        processes = 1
    reader = _ReadCells(folder, paths, reading, sequences)
    with block_map(reader, min(processes, max(len(paths), 1))) as mapped:
        cells: Iterator[Cell] = mapped(reader.blocks())
        bar = tqdm(cells, total=len(paths), desc="profiles", unit=" cells", disable=not progress)
        return CellStore(folder, list(bar))
