"""BigWig files: opened after a look at what their headers point at, and read as one value a base of a genome."""

import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from google_crc32c import Checksum

from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import misnamed, naming_error
from jaxepi.genome.fasta import Genome

# BigWig, BigBed, and what stands at the beginning of the chromosomes and of the index.
_MAGICS, _TREE, _INDEX = (0x888FFC26, 0x8789F2EB), 0x78CA8C91, 0x2468ACE0
_INDEX_HEADER = 48  # bytes before the first node
_HEADER = struct.Struct("<IHHQQQHHQQIQ")  # magic, version, zoom levels, offsets of chromosomes, data and index, …


def open_bigwig(path: Path, what: str = "a BigWig file") -> Any:
    """A file for reading, as pyBigWig gives it; `what` it should be, for the sentence.

    Raises:
        JaxepiError: if it is missing, unreadable, truncated or no BigWig.
    """
    import pyBigWig

    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise JaxepiError(f"{path} {problem}: {what} was expected")
    if not os.access(path, os.R_OK):
        raise JaxepiError(f"{path} cannot be read: check its permissions")
    try:
        file = pyBigWig.open(str(path)) if _is_whole(path) else None
    except RuntimeError:
        file = None
    if file is None:
        raise JaxepiError(f"{path} is truncated or not a BigWig file: copy or download it again")
    if not file.isBigWig():
        raise JaxepiError(f"{path} is a BigBed file: a BigWig file was expected")
    if not file.chroms():
        raise JaxepiError(f"{path} names no chromosome: copy or make it again")
    return file


def read_values(file: Any, path: Path, chrom: str, start: int, end: int) -> np.ndarray:
    """One value a base (end - start,) float32 of an interval inside a chromosome; NaN where there is no record.

    Raises:
        JaxepiError: if the file, that `path` names, is damaged there.
    """
    try:
        values = file.values(chrom, start, end, numpy=True)
    except RuntimeError as error:
        raise JaxepiError(
            f"{path} cannot be read at {chrom}:{start}-{end}: the file is damaged, copy or download it again"
        ) from error
    return np.asarray(values, np.float32)


class BaseSignal:
    """A BigWig read along the sequence of a genome.

    Attributes:
        path: the file.
        lacking: chromosomes of the genome that it does not have.
    """

    def __init__(self, path: str | os.PathLike[str], genome: Genome, what: str = "a BigWig file"):
        """Opens and checks the file; `what` it should be, for the sentence.

        Raises:
            JaxepiError: if it is no BigWig, names chromosomes differently, or another length of one.
        """
        self.path = Path(path)
        self._file = open_bigwig(self.path, what)
        self.lengths: dict[str, int] = dict(self._file.chroms())
        shared = [chrom for chrom in self.lengths if chrom in genome]
        if not shared:
            wrong = misnamed(self.lengths, genome.lengths)
            if wrong is not None:
                raise JaxepiError(f"{naming_error(self.path, wrong[0], genome.path, wrong[1])}.")
            some = ", ".join(list(self.lengths)[:3])
            raise JaxepiError(f"{self.path} ({some}) and {genome.path} share no chromosome: use files of one genome.")
        for chrom in shared:
            if self.lengths[chrom] != genome.lengths[chrom]:
                raise JaxepiError(
                    f"{chrom} has {self.lengths[chrom]} bp in {self.path} and {genome.lengths[chrom]} in {genome.path}"
                    ": use files of the same genome build."
                )
        self.lacking = frozenset(genome.lengths).difference(self.lengths)

    def lacks(self, chroms: Iterable[str]) -> int:
        """How many of some names, repeated or not, the file does not have."""
        return sum(chrom in self.lacking for chrom in chroms)

    def read(self, chrom: str, start: int, end: int) -> np.ndarray:
        """One value a base (end - start,) float32; NaN without a record, outside the chromosome, or on a lacking one.

        Raises:
            JaxepiError: if the file is damaged there.
        """
        values = np.full(end - start, np.nan, np.float32)
        low, high = max(start, 0), min(end, self.lengths.get(chrom, 0))
        if low < high:
            values[low - start : high - start] = read_values(self._file, self.path, chrom, low, high)
        return values

    def identity(self) -> str:
        """Size, chromosomes and lengths: what tells two files apart without reading them."""
        told = Checksum(json.dumps(self.lengths).encode()).hexdigest().decode()
        return f"{self.path.stat().st_size} bytes, chromosomes {told}"


def _is_whole(path: Path) -> bool:
    """Whether what the header of a BigWig or BigBed file points at is there: pyBigWig would follow it anywhere.

    The file ends with the four bytes it begins with; chromosomes and index begin with numbers of their own.
    """
    size = path.stat().st_size
    if size < _HEADER.size + 4:
        return False
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        order = next((o for o in "<>" if struct.unpack(f"{o}I", head[:4])[0] in _MAGICS), None)
        if order is None:
            return False
        _, _, zooms, tree, data, index, *_ = struct.unpack(order + _HEADER.format[1:], head)
        file.seek(-4, os.SEEK_END)
        if file.read(4) != head[:4] or _HEADER.size + 24 * zooms > size or data > size:
            return False
        for place, magic in ((tree, _TREE), (index, _INDEX)):
            file.seek(min(place, size))
            if file.read(4) != struct.pack(f"{order}I", magic):
                return False
        return _are_chromosomes_whole(file, order, tree, size) and _is_index_whole(
            file, order, index + _INDEX_HEADER, (data, size)
        )
    return True


def _are_chromosomes_whole(file: IO[bytes], order: str, tree: int, size: int) -> bool:
    """Whether the tree of chromosomes numbers them from 0: pyBigWig would write beyond its memory for others."""
    file.seek(tree + 4)
    _, key, value, count = struct.unpack(f"{order}IIIQ", file.read(20).ljust(20, b"\0"))
    if value != 8 or not 0 < key < 4096 or count > size:
        return False
    waiting, seen, numbers = [tree + 32], set(), []
    while waiting:
        place = waiting.pop()
        file.seek(min(place, size))
        head = file.read(4)
        if place in seen or len(head) < 4:
            return False
        seen.add(place)
        leaf, held = struct.unpack(f"{order}BxH", head)
        form = np.dtype(
            [("key", f"S{key}"), *([("id", f"{order}u4"), ("bp", "u4")] if leaf else [("at", f"{order}u8")])]
        )
        raw = file.read(held * form.itemsize)
        if leaf > 1 or len(raw) < held * form.itemsize:
            return False
        entries = np.frombuffer(raw, form)
        numbers += entries["id"].tolist() if leaf else []
        waiting += [] if leaf else entries["at"].tolist()
    return sorted(numbers) == list(range(count))


def _is_index_whole(file: IO[bytes], order: str, root: int, data: tuple[int, int]) -> bool:
    """Whether every entry of the index has an interval and points into the file: blocks of others are not found.

    Args:
        file: the BigWig file.
        order: of its bytes, as `struct` says it.
        root: place of the first node.
        data: places of the first block of values, and of the end of the file.
    """
    file.seek(data[0])
    (blocks,) = struct.unpack(f"{order}Q", file.read(8).ljust(8, b"\0"))
    waiting, seen = [root], set()
    while waiting:
        place = waiting.pop()
        file.seek(place)
        head = file.read(4)
        if place in seen or len(head) < 4:
            return False
        seen.add(place)
        leaf, count = struct.unpack(f"{order}BxH", head)
        form = np.dtype([("at", f"{order}u4", 4), ("place", f"{order}u8"), *([("size", f"{order}u8")] if leaf else [])])
        raw = file.read(count * form.itemsize)
        if leaf > 1 or len(raw) < count * form.itemsize:
            return False
        entries = np.frombuffer(raw, form)
        begin, end = entries["at"][:, :2].astype(np.int64), entries["at"][:, 2:].astype(np.int64)
        length = entries["size"].astype(np.float64) if leaf else np.zeros(count)
        outside = (entries["place"] < data[0]) | (entries["place"] + length > data[1])
        backwards = (end[:, 0] < begin[:, 0]) | ((end[:, 0] == begin[:, 0]) & (end[:, 1] <= begin[:, 1]))
        if outside.any() or backwards.any() or (leaf and (length == 0).any()) or (count == 0 and blocks):
            return False
        waiting += [] if leaf else entries["place"].tolist()
    return True
