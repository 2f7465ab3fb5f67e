"""CpG calls on disk: a table and one BigWig per track, written so that a killed job goes on where it was.

While a job runs, everything lies in `<out>.partial/`: the table as far as it is, a raw file of keys and one of values
for the BigWigs, and `progress.json`, which says how many bytes of each are good. At the end the folder is renamed.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
from tqdm import tqdm

from jaxepi.storage.job import (
    SYNC_SECONDS,
    file_names,
    lock_folder,
    publish,
    read_progress,
    save_progress,
    write_durably,
)

TABLE = "calls.tsv"
SUMMARY = "predict.json"
_BLOCK = 100_000  # calls copied to the BigWigs at a time
_DECIMALS = np.array([f"{value:.4f}" for value in np.arange(10_001) / 10_000])


class CallStore:
    """Appends calls batch by batch; `finish` turns them into the final files.

    Attributes:
      batches: how many batches are safely on disk; 0 for a new job.
      calls: how many positions these hold (with repeats).
    """

    def __init__(self, out: Path, arguments: Mapping[str, Any], tracks: Sequence[str], *, table: bool, bigwig: bool):
        """Opens `<out>.partial/`, new or as an interrupted job with the same arguments left it.

        Raises:
          JaxepiError: another process works there, or the interrupted job had other arguments (named).
        """
        self.out, self.partial = out, out.with_name(f"{out.name}.partial")
        self.arguments = dict(arguments)
        self.tracks = [re.sub(r"\s+", "_", track) for track in tracks]
        self._between = [f"\t{track}\t" for track in self.tracks]
        self._lock = lock_folder(self.partial)
        names = [TABLE] * table + ["keys.raw", "values.raw"] * bigwig
        progress = self._progress(names)
        self.batches, self.calls = progress["batches"], progress["calls"]
        self._files = {}
        for name in names:
            self._files[name] = open(self.partial / name, "r+b" if progress["batches"] else "w+b")
            self._files[name].truncate(progress["bytes"][name])
            self._files[name].seek(0, os.SEEK_END)
        if table and not self.batches:
            self._files[TABLE].write(b"chrom\tposition\ttrack\tvalue\n")
        self._synced = time.monotonic()

    def _progress(self, names: Sequence[str]) -> dict[str, Any]:
        nothing = {"batches": 0, "calls": 0, "bytes": dict.fromkeys(names, 0)}
        return read_progress(self.partial, self.arguments) or nothing

    def append(self, chrom: str, chrom_index: int, positions: np.ndarray, values: np.ndarray) -> None:
        """Calls of one window: positions (S,) of the C, values (S, K) in [0, 1]."""
        if TABLE in self._files:
            texts = _DECIMALS[np.rint(values.astype(np.float64) * 10_000).astype(np.int64)].tolist()
            lines = [
                f"{chrom}\t{position}{between}{text}\n"
                for position, row in zip(positions.tolist(), texts, strict=True)
                for between, text in zip(self._between, row, strict=True)
            ]
            self._files[TABLE].write("".join(lines).encode())
        if "keys.raw" in self._files:
            keys = (np.uint64(chrom_index) << np.uint64(32)) | positions.astype(np.uint64)
            self._files["keys.raw"].write(keys.tobytes())
            self._files["values.raw"].write(np.ascontiguousarray(values, np.float32).tobytes())
        self.calls += len(positions)

    def commit(self, batches: int) -> None:
        """Says that all of the first `batches` batches were appended; every few seconds that is made to last."""
        self.batches = batches
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Puts everything on disk and then says so in `progress.json`."""
        sizes = {name: file.tell() for name, file in self._files.items()}
        progress = {"arguments": self.arguments, "batches": self.batches, "calls": self.calls, "bytes": sizes}
        save_progress(self.partial, self._files.values(), progress)
        self._synced = time.monotonic()

    def finish(self, contigs: Mapping[str, int], summary: Mapping[str, Any], progress: bool = False) -> None:
        """Writes the BigWigs and the summary, removes what is only of use for going on, and renames the folder."""
        self.sync()
        if "keys.raw" in self._files:
            keys = np.memmap(self.partial / "keys.raw", np.uint64, "r") if self.calls else np.empty(0, np.uint64)
            shape = (self.calls, len(self.tracks))
            values = (
                np.memmap(self.partial / "values.raw", np.float32, "r", shape=shape) if self.calls else np.empty(shape)
            )
            folder = self.partial / "bigwig"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            try:
                paths = [folder / f"{name}.bw" for name in file_names(self.tracks)]
                write_bigwigs(paths, contigs, keys, values, progress)
            except RuntimeError as problem:  # pyBigWig's only word for a full disk
                raise OSError(f"BigWig: {problem}") from problem
        for file in self._files.values():
            file.close()
        write_durably(self.partial / SUMMARY, {"arguments": self.arguments, **summary})
        publish(self.partial, self.out)

    def close(self) -> None:
        """Lets go of the files and the folder."""
        for file in self._files.values():
            file.close()
        self._lock.close()


def write_bigwigs(
    paths: Sequence[Path], contigs: Mapping[str, int], keys: np.ndarray, values: np.ndarray, progress: bool = False
) -> None:
    """One BigWig per track, each CpG an interval [c, c + 2) as in the data that the models are trained on.

    Args:
      paths: K files.
      contigs: name -> length, in the order that the contig indices in `keys` mean.
      keys: contig index << 32 | position (N,) uint64, in any order; of equal ones the first counts.
      values: (N, K) float32. Only a block is in memory at once, and 16 bytes a call where regions overlap.
    """
    names = list(contigs)
    with contextlib.ExitStack() as stack:
        files = [pyBigWig.open(str(path), "w") for path in paths]
        for file in files:
            stack.callback(file.close)
            file.addHeader(list(contigs.items()))
        bar = stack.enter_context(tqdm(total=len(keys), unit="CpG", disable=not progress, desc="bigwig"))
        for rows in _in_order(keys):
            bar.update(len(rows))
            block_keys, block_values = keys[rows], values[rows]
            chrom = (block_keys >> np.uint64(32)).astype(np.int64)
            starts = (block_keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
            bounds = [0, *(np.flatnonzero(np.diff(chrom)) + 1), len(chrom)]
            for low, high in zip(bounds[:-1], bounds[1:], strict=True):
                for k, file in enumerate(files):
                    column = block_values[low:high, k].astype(np.float64)
                    file.addEntries(names[chrom[low]], starts[low:high], values=column, span=2)


def _in_order(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers that put the keys in ascending order, each key once, in blocks.

    Regions that do not overlap give runs of ascending keys, which only need to change places as a whole.
    """
    breaks = [0]
    for low in range(1, len(keys), _BLOCK):
        falls = keys[low : low + _BLOCK] <= keys[low - 1 : low - 1 + _BLOCK][: len(keys) - low]
        breaks += (low + np.flatnonzero(falls)).tolist()
    starts = np.array(breaks if len(keys) else [], np.int64)
    stops = np.append(starts[1:], len(keys)) if len(keys) else starts
    by_first = np.argsort(keys[starts], kind="stable")
    starts, stops = starts[by_first], stops[by_first]
    if (keys[stops[:-1] - 1] < keys[starts[1:]]).all():
        waiting, count = [], 0
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            for low in range(start, stop, _BLOCK):
                waiting.append(np.arange(low, min(low + _BLOCK, stop)))
                count += len(waiting[-1])
                if count >= _BLOCK:
                    yield np.concatenate(waiting)
                    waiting, count = [], 0
        if waiting:
            yield np.concatenate(waiting)
    else:
        rows = np.unique(keys, return_index=True)[1]
        yield from (rows[low : low + _BLOCK] for low in range(0, len(rows), _BLOCK))
