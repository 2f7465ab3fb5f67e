"""Embeddings of windows on disk as shards of .npy, written so that a killed job goes on where it was.

    manifest.json           written last: what made them, shapes, checksums of the other files
    regions.tsv             key, chrom, start, end, split: a line a row, in order
    embeddings-00000.npy    (n, T, C); a row is a window, a bfloat16 number two bytes kept as uint16

or `embeddings.h5` instead of the shards, in the layout of CS282A: one array `embeddings` (N, T, C), a piece a row.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import google_crc32c
import numpy as np

from jaxepi.errors import JaxepiError
from jaxepi.storage.atomic import replacing
from jaxepi.storage.job import SYNC_SECONDS, lock_folder, publish, read_progress, require_h5py, save_progress

MANIFEST, REGIONS, HDF5, ARRAY = "manifest.json", "regions.tsv", "embeddings.h5", "embeddings"
STORED = {"float16": np.float16, "bfloat16": np.uint16, "float32": np.float32}  # dtype -> how a file holds it
FORMATS = ("npy", "hdf5")
_COMPRESSION = 4  # of HDF5, gzip
_PIECE_BYTES = 1 << 24


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"{ARRAY}-{number:05d}.npy"


def checksum(path: Path) -> str:
    """CRC-32C of a file, read piece by piece."""
    crc = 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            crc = google_crc32c.extend(crc, piece)
    return f"{crc:08x}"


class EmbeddingStore:
    """Appends embeddings with their windows; `finish` puts the folder under its name.

    Attributes:
      rows: how many were appended; at first those of an interrupted job that are safely on disk.
      splits: how many of them are of each split.
    """

    def __init__(
        self,
        out: Path,
        arguments: Mapping[str, Any],
        *,
        count: int,
        shape: tuple[int, int],
        columns: Sequence[str],
        dtype: str = "float16",
        shard: int = 256,
        form: str = "npy",
    ):
        """Opens `<out>.partial/`, new or as an interrupted job with the same arguments left it.

        Args:
          out: the folder.
          arguments: all that decides what is written.
          count: rows that will come.
          shape: (T, C) of a row.
          columns: of regions.tsv; the last one is the split.
          dtype: one of `STORED`.
          shard: rows of a file.
          form: one of `FORMATS`.

        Raises:
          JaxepiError: another process works there, the interrupted job had other arguments (named), or the disk has no
            room.
        """
        if form == "hdf5":
            require_h5py(" or leave out --format hdf5")
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")
        self.arguments, self.count, self.dtype, self.form = dict(arguments), count, dtype, form
        self._shape, self._shard = shape, shard
        self._row_bytes = int(np.prod(shape)) * np.dtype(STORED[dtype]).itemsize
        self._file: IO[bytes] | None = None
        self._lock = lock_folder(self.partial)
        try:
            told = read_progress(self.partial, self.arguments) or {}
            self.rows: int = told.get("rows", 0)
            self.splits: dict[str, int] = told.get("splits", {})
            self._done: list[dict[str, Any]] = told.get("shards", [])  # whole files
            self._crc: int = told.get("crc", 0)  # of the file that is being written
            self._table_crc: int = told.get("table_crc", 0)
            self._table = open(self.partial / REGIONS, "r+b" if told else "w+b")
            self._table.truncate(told.get("table_bytes", 0))
            self._table.seek(0, os.SEEK_END)
            if not told:
                self._write_line(columns)
            if self.rows % shard and self.rows < count:
                self._reopen()
            self._require_space()
        except BaseException:
            self.close()
            raise
        self._synced = time.monotonic()

    def append(self, values: np.ndarray, regions: Sequence[Sequence[Any]]) -> None:
        """Rows (n, T, C) as the files hold them, with the lines of their n windows, in order."""
        assert values.shape == (len(regions), *self._shape) and values.dtype == STORED[self.dtype], values.shape
        low = 0
        while low < len(values):
            number, place = divmod(self.rows, self._shard)
            if not place:
                self._begin(number)
            high = min(len(values), low + self._shard - place)
            self._write(np.ascontiguousarray(values[low:high]).tobytes())
            self.rows += high - low
            low = high
            if self.rows % self._shard == 0 or self.rows == self.count:
                self._end(number)
        for region in regions:
            self._write_line(region)
            self.splits[region[-1]] = self.splits.get(region[-1], 0) + 1
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Puts everything on disk and then says so in `progress.json`."""
        told = {
            "arguments": self.arguments, "rows": self.rows, "splits": self.splits, "shards": self._done,
            "crc": self._crc, "table_crc": self._table_crc, "table_bytes": self._table.tell(),
        }  # fmt: skip
        save_progress(self.partial, [self._table, *([self._file] if self._file else [])], told)
        self._synced = time.monotonic()

    def finish(self, seal: Callable[[dict[str, dict[str, Any]]], str]) -> None:
        """Puts the folder under its name.

        Args:
          seal: file -> its `bytes` and `crc32c`, to the text of manifest.json.
        """
        assert self.rows == self.count, (self.rows, self.count)
        self.sync()
        table = {"bytes": self._table.tell(), "crc32c": f"{self._table_crc:08x}"}
        self._table.close()
        if self.form == "hdf5":
            self._write_hdf5(path := self.partial / HDF5)
            files = {HDF5: {"bytes": path.stat().st_size, "crc32c": checksum(path)}}
        else:
            files = {shard_name(number): told for number, told in enumerate(self._done)}
        with replacing(self.partial / MANIFEST) as manifest:
            manifest.write_text(seal({REGIONS: table, **files}))
        publish(self.partial, self.out)

    def discard(self) -> None:
        """Removes what was written: the job can never end well."""
        self.close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def close(self) -> None:
        """Lets go of the files and the folder."""
        for file in (self._file, getattr(self, "_table", None)):
            if file is not None:
                file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, number: int) -> Path:
        """Where a shard is written; what becomes HDF5 has the ending of files that only serve to go on."""
        return self.partial / (shard_name(number) + (".raw" if self.form == "hdf5" else ""))

    def _begin(self, number: int) -> None:
        self._file, self._crc = open(self._place(number), "w+b"), 0
        rows = min(self._shard, self.count - number * self._shard)
        head = {"descr": np.dtype(STORED[self.dtype]).str, "fortran_order": False, "shape": (rows, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, head)
        self._file.seek(0)
        self._crc = google_crc32c.extend(0, self._file.read())

    def _reopen(self) -> None:
        """The shard that was being written, without what came after the last `sync`."""
        number, place = divmod(self.rows, self._shard)
        self._file = open(self._place(number), "r+b")
        np.lib.format.read_magic(self._file)
        np.lib.format.read_array_header_1_0(self._file)
        self._file.truncate(self._file.tell() + place * self._row_bytes)
        self._file.seek(0, os.SEEK_END)

    def _write(self, piece: bytes) -> None:
        assert self._file is not None
        self._file.write(piece)
        self._crc = google_crc32c.extend(self._crc, piece)

    def _end(self, number: int) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._done.append({"bytes": self._place(number).stat().st_size, "crc32c": f"{self._crc:08x}"})

    def _write_line(self, cells: Sequence[object]) -> None:
        line = ("\t".join(map(str, cells)) + "\n").encode()
        self._table.write(line)
        self._table_crc = google_crc32c.extend(self._table_crc, line)

    def _write_hdf5(self, path: Path) -> None:
        """The shards as one array, one compressed piece a row; HDF5 written anew, as half a file of it is none."""
        h5py = require_h5py()
        kind = np.dtype(STORED[self.dtype])
        with h5py.File(path, "w") as file:
            array = file.create_dataset(
                ARRAY, (self.count, *self._shape), kind, chunks=(1, *self._shape), compression="gzip",
                compression_opts=_COMPRESSION,
            )  # fmt: skip
            for number in range(len(self._done)):
                values = np.load(self._place(number), mmap_mode="r")
                for row in range(len(values)):
                    array[number * self._shard + row] = values[row]
        with open(path, "rb") as written:
            os.fsync(written.fileno())

    def _require_space(self) -> None:
        needed = (self.count - self.rows) * self._row_bytes + (self.count * self._row_bytes) * (self.form == "hdf5")
        free = shutil.disk_usage(self.partial).free
        if free < needed:
            raise JaxepiError(
                f"{self.out.parent} has {free / 1e9:.1f} GB free and the embeddings of {self.count:,} windows need "
                f"{needed / 1e9:.1f} GB: choose another --out, --dtype float16, or fewer windows."
            )
