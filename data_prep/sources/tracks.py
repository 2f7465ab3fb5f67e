"""BigWig tracks: which files make which tracks, and reading them in large blocks, once per chromosome and track."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.chroms import harmonise_all

_BIGWIG_ENDINGS = (".bw", ".bigwig")
_NAME_COLUMNS = ("name", "track_name")
_FILE_COLUMNS = ("file", "bigwig_file")
# BigWig, BigBed, and what stands at the beginning of the chromosomes and of the index.
_MAGICS, _TREE, _INDEX = (0x888FFC26, 0x8789F2EB), 0x78CA8C91, 0x2468ACE0
_INDEX_HEADER = 48  # bytes before the first node
_HEADER = struct.Struct("<IHHQQQHHQQIQ")  # magic, version, zoom levels, offsets of chromosomes, data and index, …


@dataclass(frozen=True)
class TrackFile:
    """One track: its name in the dataset and its BigWig file."""

    name: str
    path: Path


def resolve_tracks(
    bigwigs: Sequence[str] = (), folder: str | None = None, table: str | None = None
) -> tuple[TrackFile, ...]:
    """The tracks in order, from a list of files, or from a folder and a table.

    A file named in `bigwigs` or in the table is a path, or the name of a file in `folder`, or a part of exactly one
    name there. Without `bigwigs` and `table` every BigWig of the folder is taken, in alphabetical order.

    Args:
        bigwigs: files; the track is named after the file without its ending.
        folder: where names are looked up.
        table: CSV with the columns `name` and `file` (or `track_name` and `bigwig_file`), one row a track.

    Raises:
        JaxepiError: if a name fits no file or several, a column is missing, or two tracks have one name.
    """
    if folder is not None and not Path(folder).is_dir():
        raise JaxepiError(f"{folder} is not a folder: --bigwigs-dir needs the folder of the BigWig files")
    if table is not None:
        rows = _read_table(Path(table))
    elif bigwigs:
        rows = [(None, name) for name in bigwigs]
    elif folder is not None:
        rows = [(None, name) for name in _bigwigs_in(folder)]
    else:
        raise JaxepiError("no tracks: give BigWig files with --bigwigs, or --bigwigs-dir with or without --tracks")
    if not rows:
        raise JaxepiError(f"{table or folder} names no track: at least one BigWig file is needed")
    base = Path(table).parent if table is not None and folder is None else None
    paths = [_find(name, folder, base) for _, name in rows]
    tracks = tuple(TrackFile(name or _stem(path), path) for (name, _), path in zip(rows, paths, strict=True))
    names = [track.name for track in tracks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise JaxepiError(
            f"two tracks are called {twice!r}{'' if table is None else f' in {table}'}: name each track once, with "
            "--tracks table.csv if files share a name"
        )
    return tracks


def _read_table(path: Path) -> list[tuple[str | None, str]]:
    tracks: list[tuple[str | None, str]] = []
    for number, row in read_rows(path):
        name_column = next((c for c in _NAME_COLUMNS if c in row), None)
        file_column = next((c for c in _FILE_COLUMNS if c in row), None)
        if name_column is None or file_column is None:
            raise JaxepiError(f"{path} has the columns {', '.join(row)}: a table of tracks needs `name` and `file`")
        if not row[name_column] or not row[file_column]:
            raise JaxepiError(f"{path} line {number} has an empty cell: each track needs a name and a file")
        tracks.append((row[name_column], row[file_column]))
    return tracks


def _bigwigs_in(folder: str) -> list[str]:
    return sorted(p.name for p in Path(folder).iterdir() if p.name.lower().endswith(_BIGWIG_ENDINGS))


def _stem(path: Path) -> str:
    lower = path.name.lower()
    ending = next((e for e in _BIGWIG_ENDINGS if lower.endswith(e)), "")
    return path.name[: len(path.name) - len(ending)]


def _find(name: str, folder: str | None, base: Path | None) -> Path:
    direct = Path(name) if base is None or Path(name).is_absolute() else base / name
    if folder is None:
        if not os.path.exists(direct):  # unlike Path.exists, also says so of what no name can be
            raise JaxepiError(f"{str(direct)[:200]} does not exist: a BigWig file was expected")
        return direct.absolute()
    known = _bigwigs_in(folder)
    if name in known:
        return (Path(folder) / name).absolute()
    if direct.is_absolute() and os.path.exists(direct):
        return direct
    fitting = [k for k in known if name in k]
    if len(fitting) == 1:
        return (Path(folder) / fitting[0]).absolute()
    if fitting:
        raise JaxepiError(
            f"{name!r} fits {len(fitting)} files in {folder} ({', '.join(fitting[:5])}): give the full file name"
        )
    raise JaxepiError(
        f"{name!r} fits no BigWig file in {folder}{did_you_mean(name, known)}: give a file name or a part of one"
    )


def read_header(track: TrackFile) -> dict[str, int]:
    """Chromosome lengths as the file states them.

    Raises:
        JaxepiError: if the file is missing, unreadable, truncated or not a BigWig.
    """
    with _open(track) as file:
        return dict(file.chroms())


def _open(track: TrackFile) -> Any:
    import pyBigWig

    if not track.path.is_file():
        what = "is a folder" if track.path.is_dir() else "does not exist"
        raise JaxepiError(f"{track.path} {what}: the BigWig file of track {track.name!r} was expected")
    if not os.access(track.path, os.R_OK):
        raise JaxepiError(f"{track.path} cannot be read: check its permissions")
    try:
        file = pyBigWig.open(str(track.path)) if _is_whole(track.path) else None
    except RuntimeError:
        file = None
    if file is None:
        raise JaxepiError(f"{track.path} is truncated or not a BigWig file: copy or download it again")
    if not file.isBigWig():
        raise JaxepiError(f"{track.path} is a BigBed file: a BigWig file was expected")
    if not file.chroms():
        raise JaxepiError(f"{track.path} names no chromosome: copy or make it again")
    return file


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


class TrackReader:
    """Reads K tracks. Files are opened once per process; the object may be sent to other processes."""

    def __init__(self, tracks: Sequence[TrackFile], prefix: str = "as-is") -> None:
        """`prefix` as in `jaxepi.genome.chroms.harmonise`."""
        self.tracks = tuple(tracks)
        self._prefix = prefix
        self._pid = -1
        self._files: list[tuple[Any, dict[str, str]]] = []

    def __len__(self) -> int:
        return len(self.tracks)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": [], "_pid": -1}

    def read(self, track: int, chrom: str, start: int, end: int) -> np.ndarray:
        """One value a base, (end - start,) float32, exactly as stored; NaN where the file has no record.

        The interval lies inside the chromosome. A chromosome that the track does not have is all NaN.
        """
        if self._pid != os.getpid():
            opened = [_open(t) for t in self.tracks]
            self._files = [(file, harmonise_all(list(file.chroms()), self._prefix)) for file in opened]
            self._pid = os.getpid()
        file, names = self._files[track]
        if chrom not in names:
            return np.full(end - start, np.nan, np.float32)
        try:
            values = file.values(names[chrom], start, end, numpy=True)
        except RuntimeError as error:
            raise JaxepiError(
                f"{self.tracks[track].path} cannot be read at {chrom}:{start}-{end}: the file is damaged, "
                "copy or download it again"
            ) from error
        return np.asarray(values, np.float32)
