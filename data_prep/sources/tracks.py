"""BigWig tracks: which files make which tracks, and reading them in large blocks, once per chromosome and track."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.sources.text_tables import read_rows
from jaxepi.errors import JaxepiError, did_you_mean
from jaxepi.genome.bigwig import open_bigwig, read_values
from jaxepi.genome.chroms import harmonise_all

_BIGWIG_ENDINGS = (".bw", ".bigwig")
_NAME_COLUMNS = ("name", "track_name")
_FILE_COLUMNS = ("file", "bigwig_file")


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
    return open_bigwig(track.path, f"the BigWig file of track {track.name!r}")


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
        return read_values(file, self.tracks[track].path, names[chrom], start, end)
