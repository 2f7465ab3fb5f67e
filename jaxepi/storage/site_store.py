"""Numbers at sites of a genome on disk, written so that a killed job goes on where it was.

While a job runs, `<out>.partial/` holds a raw file of sites and one a column, and `progress.json` says how many sites
of them are good. At the end the job writes its files from them, and the folder is renamed.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from jaxepi.storage.job import SYNC_SECONDS, lock_folder, publish, read_progress, save_progress, write_durably

_SITES = "sites"
_BLOCK_BYTES = 32 << 20  # of columns that are copied at a time

Column = tuple[type[np.generic], tuple[int, ...]]  # number type and shape of one site's entry


class SiteStore:
    """Appends sites batch by batch; a subclass turns them into its files and then calls `publish`.

    Attributes:
      sites: how many sites were appended; at first those of an interrupted job that are safely on disk.
      chroms: names of chromosomes in the order of their first site.
      state: what else a job needs to go on, as JSON; kept with the sites.
    """

    def __init__(
        self,
        out: Path,
        arguments: Mapping[str, Any],
        columns: Mapping[str, Column],
        state: Mapping[str, Any] | None = None,
    ):
        """Opens `<out>.partial/`, new or as an interrupted job with the same arguments left it.

        Raises:
          JaxepiError: another process works there, or the interrupted job had other arguments (named).
        """
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")
        self.arguments = dict(arguments)
        self._columns: dict[str, Column] = {_SITES: (np.uint64, ()), **columns}
        self._files: dict[str, Any] = {}
        self._lock = lock_folder(self.partial)
        try:
            told = read_progress(self.partial, self.arguments)
            self.sites: int = told["sites"] if told else 0
            self.chroms: list[str] = told["chroms"] if told else []
            self.state: dict[str, Any] = told["state"] if told else dict(state or {})
            for name in self._columns:
                file = self._files[name] = open(self._raw(name), "r+b" if told else "w+b")
                file.truncate(self.sites * self._bytes(name))
                file.seek(0, os.SEEK_END)
        except BaseException:
            self.close()
            raise
        self._synced = time.monotonic()

    def _raw(self, column: str) -> Path:
        return self.partial / f"{column}.raw"

    def _bytes(self, column: str) -> int:
        kind, shape = self._columns[column]
        return np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))

    def append_sites(self, chroms: Sequence[str], positions: np.ndarray, **columns: np.ndarray) -> None:
        """Sites of one batch in order: chromosomes and positions (B,), and every column (B, ...)."""
        for chrom in dict.fromkeys(chroms):
            if chrom not in self.chroms:
                self.chroms.append(chrom)
        index = np.array([self.chroms.index(chrom) for chrom in chroms], np.uint64)
        columns[_SITES] = (index << np.uint64(32)) | np.asarray(positions).astype(np.uint64)
        for name, (kind, shape) in self._columns.items():
            values = np.ascontiguousarray(columns[name], kind)
            assert values.shape == (len(positions), *shape), (name, values.shape)
            self._files[name].write(values.tobytes())
        self.sites += len(positions)
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Puts everything on disk and then says so in `progress.json`."""
        told = {"arguments": self.arguments, "sites": self.sites, "chroms": self.chroms, "state": self.state}
        save_progress(self.partial, self._files.values(), told)
        self._synced = time.monotonic()

    def site_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]:
        """All sites in blocks: chromosome names (n,), positions (n,) int64, and the columns (n, ...) by name."""
        if not self.sites:
            return
        held = {
            name: np.memmap(self._raw(name), kind, "r", shape=(self.sites, *shape))
            for name, (kind, shape) in self._columns.items()
        }
        names = np.array(self.chroms)
        size = max(1, _BLOCK_BYTES // sum(map(self._bytes, self._columns)))
        for low in range(0, self.sites, size):
            block = {name: np.asarray(values[low : low + size]) for name, values in held.items()}
            keys = block.pop(_SITES)
            chrom = names[(keys >> np.uint64(32)).astype(np.int64)]
            yield chrom, (keys & np.uint64(0xFFFFFFFF)).astype(np.int64), block

    def publish(self, summary_name: str, summary: Mapping[str, Any]) -> None:
        """Writes the summary, removes what is only of use for going on, and renames the folder."""
        for file in self._files.values():
            file.close()
        write_durably(self.partial / summary_name, {"arguments": self.arguments, **summary})
        publish(self.partial, self.out)

    def close(self) -> None:
        """Lets go of the files and the folder."""
        for file in self._files.values():
            file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
