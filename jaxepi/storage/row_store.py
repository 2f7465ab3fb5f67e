"""Arrays of known length on disk, filled row by row in their final files, in a job that goes on where it was killed.

An HDF5 file gets all its metadata, and its full size, before the first row: then only the bytes of rows change, so that
a kill at any moment leaves a sound file, nothing is copied at the end, and a row may be written again.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.storage.job import (
    SYNC_SECONDS,
    clear_folder,
    lock_folder,
    publish,
    read_progress,
    require_h5py,
    save_progress,
    write_durably,
)

HDF5 = ".h5"  # files of another ending hold the bare numbers


@dataclasses.dataclass(frozen=True)
class RowArray:
    """What a file is to hold.

    Attributes:
      name: of the dataset in an HDF5 file.
      shape: the rows (N, ...) to come; dtype: of their numbers.
      beside: further datasets of an HDF5 file, known beforehand.
      attributes: of an HDF5 file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: type[np.generic]
    beside: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape[1:], dtype=np.int64))


class RowFile:
    """A file whose rows are written one after the other, or again."""

    def __init__(self, path: Path, array: RowArray, *, new: bool):
        """Makes the file in its full size, or opens the one that was made for the same array.

        Raises:
          JaxepiError: HDF5 is asked for and h5py is not installed.
          OSError: it cannot be made or opened.
        """
        self.path, self.array = path, array
        self._offset = 0
        if path.suffix == HDF5:
            self._offset = _make_hdf5(path, array) if new else _offset_in_hdf5(path, array)
        elif new:
            with open(path, "wb") as file:
                file.truncate(array.shape[0] * array.row_bytes)
        self.file = open(path, "r+b")

    def write(self, first: int, rows: np.ndarray) -> None:
        """Rows (n, ...) from number `first`."""
        assert rows.shape[1:] == self.array.shape[1:] and first + len(rows) <= self.array.shape[0], rows.shape
        self.file.seek(self._offset + first * self.array.row_bytes)
        self.file.write(np.ascontiguousarray(rows, self.array.dtype).data)

    def view(self) -> np.ndarray:
        """All rows (N, ...), read from disk when looked at."""
        self.file.flush()
        if not self.array.shape[0] * self.array.row_bytes:
            return np.empty(self.array.shape, self.array.dtype)
        return np.memmap(self.path, self.array.dtype, "r", self._offset, self.array.shape)

    def close(self) -> None:
        """Lets go of the file."""
        self.file.close()


class RowStore:
    """Some files of the same number of rows, in `<out>.partial/` until `publish`.

    Attributes:
      rows: how many rows every file has; at first those of an interrupted job that are safely on disk.
      files: by name.
      state: what else a job counts, as JSON; kept with the rows.
    """

    def __init__(self, out: Path, arguments: Mapping[str, Any], arrays: Mapping[str, RowArray]):
        """Opens `<out>.partial/`, new or as an interrupted job with the same arguments left it.

        Raises:
          JaxepiError: another process works there, the interrupted job had other arguments (named), or the disk has
            no room for the files.
        """
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")
        self.arguments = dict(arguments)
        self.files: dict[str, RowFile] = {}
        self._lock = lock_folder(self.partial)
        try:
            told = read_progress(self.partial, self.arguments)
            self.rows: int = told["rows"] if told else 0
            self.state: dict[str, int] = told["state"] if told else {}
            if not told:
                clear_folder(self.partial, self._lock)  # of another job, killed before it could say what it was
                _check_room(self.partial, arrays)
            for name, array in arrays.items():
                self.files[name] = RowFile(self.partial / name, array, new=not told)
        except BaseException:
            self.close()
            raise
        self._synced = time.monotonic()

    def append(self, rows: Mapping[str, np.ndarray], **counts: int) -> None:
        """The next rows (n, ...) of every file by its name; `counts` are added to what `state` holds."""
        for name, values in rows.items():
            self.files[name].write(self.rows, values)
        self.rows += len(next(iter(rows.values())))
        for name, count in counts.items():
            self.state[name] = self.state.get(name, 0) + int(count)
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Puts everything on disk and then says so in `progress.json`."""
        told = {"arguments": self.arguments, "rows": self.rows, "state": self.state}
        save_progress(self.partial, [file.file for file in self.files.values()], told)
        self._synced = time.monotonic()

    def publish(self, summary_name: str, summary: Mapping[str, Any]) -> None:
        """Writes the summary, removes what is only of use for going on, and renames the folder."""
        self.sync()
        for file in self.files.values():
            file.close()
        write_durably(self.partial / summary_name, {"arguments": self.arguments, **summary})
        publish(self.partial, self.out)

    def close(self) -> None:
        """Lets go of the files and the folder."""
        for file in self.files.values():
            file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def texts(values: Any) -> np.ndarray:
    """Names as an HDF5 file holds them: bytes of UTF-8, all of one length."""
    encoded = [str(value).encode() for value in values]
    return np.array(encoded, f"S{max(map(len, encoded), default=1)}")


def _check_room(folder: Path, arrays: Mapping[str, RowArray]) -> None:
    """Raises JaxepiError if the files of a job would not fit on the disk of its folder."""
    wanted = sum(array.shape[0] * array.row_bytes for array in arrays.values())
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise JaxepiError(
            f"{folder} has {free / 1e9:.1f} GB of disk left, but {' and '.join(arrays)} need {wanted / 1e9:.1f} GB: "
            "choose fewer tracks, a shorter site, or another disk."
        )


def _make_hdf5(path: Path, array: RowArray) -> int:
    """Writes everything but the rows; returns the byte at which these begin."""
    h5py = require_h5py()
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same numbers, the same bytes
    with h5py.File(path, "w", locking=False) as file:
        space, kind = h5py.h5s.create_simple(array.shape), h5py.h5t.py_create(np.dtype(array.dtype))
        rows = h5py.h5d.create(file.id, array.name.encode(), kind, space, layout)
        for name, values in array.beside.items():
            file.create_dataset(name, data=values)
        file.attrs.update(array.attributes)
        offset = rows.get_offset()
    with open(path, "rb") as made:
        os.fsync(made.fileno())
    return offset or 0  # None without rows


def _offset_in_hdf5(path: Path, array: RowArray) -> int:
    with require_h5py().File(path, "r", locking=False) as file:
        return file[array.name].id.get_offset() or 0
