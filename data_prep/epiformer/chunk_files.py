"""The original's chunk files `<prefix>.<n>.h5`: what they hold, checked before any work, and read in parts.

    inputs/seq       (n,)       letters of a window, variable length
    inputs/seqcons   (n, L)     conservation
    targets/value    (n, K, T)  bins; NaN where a base has no record
    targets/label    (n, K, T)  1 in a peak; only in files with one
    segments/name    (n,)       chrom:start-end

Letters: n windows of a file, L bp, K tracks, T bins.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.genome.chroms import harmonise
from jaxepi.genome.intervals import Interval, parse_interval
from jaxepi.sequence import ForeignLetter, encode_counted

ORDERS = ("number", "text")
LARGEST = float(np.finfo(np.float16).max)
_SEQUENCE, _CONSERVATION, _VALUE, _LABEL, _NAME = (
    "inputs/seq", "inputs/seqcons", "targets/value", "targets/label", "segments/name",
)  # fmt: skip
_NEEDED = (_SEQUENCE, _CONSERVATION, _VALUE, _NAME)
_NUMBERED = re.compile(r"(.*)\.(\d+)\.h5")
_AGAIN = "copy or make the file again"
_UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)  # of a damaged file


@dataclass(frozen=True)
class ChunkFile:
    """What a file holds: `count` windows of `length` bp, the places of these, `tracks`, `bins`, and whether labels."""

    path: Path
    count: int
    length: int
    tracks: int
    bins: int
    labelled: bool
    places: tuple[Interval, ...]


class Rows(NamedTuple):
    """Windows of one file."""

    codes: np.ndarray  # (n, L) uint8
    ambiguous: np.ndarray  # (n,) letters that are ambiguity codes other than N
    conservation: np.ndarray  # (n, L) float16
    outside: np.ndarray  # (n,) scores of conservation outside 0 to 1
    value: np.ndarray  # (n, T, K) float64, NaN where missing
    label: np.ndarray | None  # (n, T, K) uint8

    def take(self, chosen: np.ndarray) -> "Rows":
        """The windows of these numbers."""
        return Rows(*(part if part is None else part[chosen] for part in self))


def find_chunks(given: Sequence[str], order: str, most: int | None) -> list[Path]:
    """The files in order: those given, or all of one folder.

    Args:
        given: files, or one folder.
        order: by `number`, or of their names as `text`.
        most: take only so many; None = all.

    Raises:
        JaxepiError: no file, one that is not there or is called otherwise, several datasets, or a gap in the numbers of
            a folder.
    """
    folder = Path(given[0])
    in_folder = len(given) == 1 and folder.is_dir()
    paths = [path.absolute() for path in (folder.glob("*.h5") if in_folder else map(Path, given))]
    if not paths:
        raise JaxepiError(f"{folder} holds no file <prefix>.<n>.h5: name the folder of the original's chunk files")
    numbers: dict[Path, int] = {}
    for path in paths:
        if not os.path.isfile(path):
            raise JaxepiError(f"{path} is no file: --chunks needs files <prefix>.<n>.h5, or their folder")
        match = _NUMBERED.fullmatch(path.name)
        if match is None:
            raise JaxepiError(f"{path} has no number before .h5: chunk files are called <prefix>.<n>.h5")
        numbers[path] = int(match[2])
    prefixes = sorted({_NUMBERED.fullmatch(path.name)[1] for path in paths})
    if len(prefixes) > 1:
        raise JaxepiError(
            f"{paths[0].parent} has chunk files of {len(prefixes)} datasets ({', '.join(prefixes[:3])}): prepare one "
            "after the other, and name its files with --chunks"
        )
    if len(set(numbers.values())) < len(paths):
        raise JaxepiError(f"--chunks names a chunk file of {prefixes[0]} twice: name each once")
    lacking = sorted(set(range(max(numbers.values()))) - set(numbers.values()))
    if in_folder and lacking:
        raise JaxepiError(
            f"{folder / f'{prefixes[0]}.{lacking[0]}.h5'} is missing, though later ones are there: copy it, or name "
            "the files that you want"
        )
    return sorted(paths, key=numbers.__getitem__ if order == "number" else str)[:most]


def read_headers(paths: Sequence[Path], prefix: str = "as-is") -> list[ChunkFile]:
    """What every file holds; all of one window, one number of tracks and bins, and no window twice.

    Raises:
        JaxepiError: a file that is damaged, lacks something, or does not fit the first one.
    """
    chunks: list[ChunkFile] = []
    seen: dict[Interval, Path] = {}
    for path in paths:
        chunk = _header(path, prefix)
        shape, first = (chunk.length, chunk.tracks, chunk.bins), chunks[0] if chunks else chunk
        if shape != (first.length, first.tracks, first.bins):
            raise JaxepiError(
                f"{path} has windows of {shape[0]} bp with {shape[1]} tracks and {shape[2]} bins, but {first.path} has "
                f"{first.length}, {first.tracks} and {first.bins}: give the files of one dataset"
            )
        for place in chunk.places:
            if place in seen:
                raise JaxepiError(f"{path} and {seen[place]} both hold {place}: give each window once")
            seen[place] = path
        chunks.append(chunk)
    return chunks


def _header(path: Path, prefix: str) -> ChunkFile:
    reader = ChunkReader(path)
    try:
        found = reader.datasets()
        shapes = {name: data.shape for name, data in found.items()}
        value = shapes[_VALUE]
        count = shapes[_SEQUENCE][0] if len(shapes[_SEQUENCE]) == 1 else 0
        length = shapes[_CONSERVATION][1] if len(shapes[_CONSERVATION]) == 2 else 0
        wanted = {_SEQUENCE: (count,), _CONSERVATION: (count, length), _VALUE: (count, *value[1:]), _NAME: (count,)}
        wanted |= {_LABEL: value} if _LABEL in found else {}
        wrong = next((name for name, shape in wanted.items() if shapes[name] != shape), None)
        if len(value) != 3 or wrong or not all((count, length, *value)):
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise JaxepiError(
                f"{path} has {told}: n letters, n × bp, n × tracks × bins and n names were expected, so {_AGAIN}"
            )
        if length % value[2]:
            raise JaxepiError(
                f"{path} has {value[2]} bins in windows of {length} bp, which is no whole number of bp a bin: make the "
                "files with a --seqlen that --binsize divides"
            )
        reader.read(0, 1, length)
        places = tuple(_place(path, name, length, prefix) for name in reader.part(_NAME, 0, count))
        return ChunkFile(path, count, length, value[1], value[2], _LABEL in found, places)
    finally:
        reader.close()


def _place(path: Path, name: Any, length: int, prefix: str) -> Interval:
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    try:
        place = parse_interval(text)
    except ValueError as problem:
        raise JaxepiError(f"{path}: a name in {_NAME} is wrong, as {problem}: {_AGAIN}") from None
    if place.length != length:
        raise JaxepiError(f"{path} calls a window of {length} bp {text}, which is {place.length} bp long: {_AGAIN}")
    return place._replace(chrom=harmonise(place.chrom, prefix))


class ChunkReader:
    """One open file."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises JaxepiError if it cannot be read, or h5py is not installed."""
        self.path = path
        try:
            import h5py
        except ImportError as error:
            raise JaxepiError(
                f"{path} is an HDF5 file and h5py is not installed: run pip install 'jaxepi[chunks]'"
            ) from error
        with contextlib.suppress(ImportError):  # told where a file needs it
            import hdf5plugin  # noqa: F401  registers the original's compression
        try:
            self._file: Any = h5py.File(path, "r")
        except OSError as error:
            raise JaxepiError(f"{path} is truncated or not an HDF5 file: {_AGAIN}") from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def datasets(self) -> dict[str, Any]:
        """Name -> dataset. Raises JaxepiError for one that is missing, or packed in a way that cannot be read here."""
        import h5py

        found = {}
        for name in (*_NEEDED, _LABEL):
            try:
                data = self._file.get(name)
            except _UNREADABLE as error:
                raise self._damaged(name, error) from error
            if isinstance(data, h5py.Dataset):
                found[name] = data
            elif name in _NEEDED:
                has = ", ".join(sorted(map(str, self._file))[:5]) or "nothing"
                raise JaxepiError(
                    f"{self.path} has no dataset {name}, only {has}: a chunk file of the original was expected"
                )
        for data in found.values():
            packing = data.id.get_create_plist()
            codes = [packing.get_filter(number)[0] for number in range(packing.get_nfilters())]
            if not all(map(h5py.h5z.filter_avail, codes)):
                raise JaxepiError(
                    f"{self.path} is packed by a filter such as LZ4, which needs hdf5plugin, and that is not "
                    "installed: run pip install 'jaxepi[chunks]'"
                )
        return found

    def part(self, name: str, first: int, count: int) -> np.ndarray:
        """Rows of a dataset. Raises JaxepiError if they cannot be read."""
        try:
            return self._file[name][first : first + count]
        except _UNREADABLE as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> JaxepiError:
        reason = " ".join(str(error).split())[:100]
        return JaxepiError(f"{self.path} cannot be read at {name} ({reason}): the file is damaged, so {_AGAIN}")

    def read(self, first: int, count: int, length: int) -> Rows:
        """Windows of `length` bp from number `first` on.

        Raises:
            JaxepiError: sequences, scores, bins or labels that cannot be right.
        """
        names, letters = self.part(_NAME, first, count), self.part(_SEQUENCE, first, count)
        codes = [self._codes(text, name, length) for text, name in zip(letters, names, strict=True)]
        conservation = self._numbers(_CONSERVATION, first, count)
        value = self._numbers(_VALUE, first, count, missing=True)
        label = None
        if _LABEL in self._file:
            label = self._numbers(_LABEL, first, count)
            if not np.isin(label, (0, 1)).all():
                raise JaxepiError(f"{self.path} has a {_LABEL} other than 0 and 1: {_AGAIN}")
            label = label.astype(np.uint8).transpose(0, 2, 1)
        outside = np.count_nonzero((conservation < 0) | (conservation > 1), axis=1)
        return Rows(
            np.stack([own for own, _ in codes]), np.array([found for _, found in codes]),
            conservation.astype(np.float16), outside, value.transpose(0, 2, 1), label,
        )  # fmt: skip

    def _codes(self, letters: Any, name: Any, length: int) -> tuple[np.ndarray, int]:
        """Base codes (length,) of a sequence, and how many ambiguity codes other than N."""
        text = letters if isinstance(letters, bytes) else str(letters).encode()
        try:
            if len(text) == length:
                return encode_counted(text)
        except ForeignLetter:
            pass
        told, place = (part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in (text, name))
        raise JaxepiError(
            f"{self.path} has {told[:40]!r} in {_SEQUENCE} as the sequence of {place[:80]}: {length} letters were "
            "expected (with some versions of bedtools the original stores names of regions), so make the files again"
        )

    def _numbers(self, name: str, first: int, count: int, missing: bool = False) -> np.ndarray:
        """Rows of a dataset as float64: finite unless `missing` allows NaN, and of a size that float16 holds if not."""
        try:
            values = np.asarray(self.part(name, first, count), np.float64)
        except (TypeError, ValueError) as error:
            raise JaxepiError(f"{self.path} has a {name} that is no number: {_AGAIN}") from error
        wrong = np.isinf(values) if missing else ~(np.abs(values) <= LARGEST)
        if wrong.any():
            raise JaxepiError(
                f"{self.path} has {values[wrong][0]:g} in {name}, window {first + int(np.argwhere(wrong)[0][0])}: a "
                f"{'finite number or NaN' if missing else 'number of at most 65,504'} was expected, so {_AGAIN}"
            )
        return values


def numbered(chunks: Sequence[ChunkFile]) -> Iterator[tuple[int, int]]:
    """(file, row) of every window of some files, in their order."""
    return ((number, row) for number, chunk in enumerate(chunks) for row in range(chunk.count))
